"""ResNet-18 with the CIFAR stem on digits32: the network of mmcls's resnet/resnet18_8xb16_cifar10.py."""

model = dict(
    type="ImageClassifier",
    backbone=dict(type="ResNet_CIFAR", depth=18, num_stages=4, out_indices=(3,), style="pytorch"),
    neck=dict(type="GlobalAveragePooling"),
    head=dict(
        type="LinearClsHead",
        num_classes=10,
        in_channels=512,
        loss=dict(type="CrossEntropyLoss", loss_weight=1.0),
    ),
)
# digits32 lies on disk as CIFAR-10 does: RGB arrays of 32x32, no files to decode, no resizing.
img_norm_cfg = dict(mean=[128.0, 128.0, 128.0], std=[64.0, 64.0, 64.0], to_rgb=False)
test_pipeline = [
    dict(type="Normalize", **img_norm_cfg),
    dict(type="ImageToTensor", keys=["img"]),
    dict(type="Collect", keys=["img"]),
]
data = dict(
    test=dict(type="CIFAR10", data_prefix="data/digits32", pipeline=test_pipeline, test_mode=True),
)
