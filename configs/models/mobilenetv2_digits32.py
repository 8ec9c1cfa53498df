"""MobileNetV2 on digits32 resized to 64x64: the network of mmcls's mobilenet_v2/mobilenet-v2_8xb32_in1k.py."""

model = dict(
    type="ImageClassifier",
    backbone=dict(type="MobileNetV2", widen_factor=1.0),
    neck=dict(type="GlobalAveragePooling"),
    head=dict(
        type="LinearClsHead",
        num_classes=10,
        in_channels=1280,
        loss=dict(type="CrossEntropyLoss", loss_weight=1.0),
    ),
)
# The images are RGB arrays of 32x32; the network, which halves them five times, sees them at 64x64.
img_norm_cfg = dict(mean=[128.0, 128.0, 128.0], std=[64.0, 64.0, 64.0], to_rgb=False)
test_pipeline = [
    dict(type="Resize", size=(64, 64), interpolation="bilinear", backend="cv2"),
    dict(type="Normalize", **img_norm_cfg),
    dict(type="ImageToTensor", keys=["img"]),
    dict(type="Collect", keys=["img"]),
]
data = dict(
    test=dict(type="CIFAR10", data_prefix="data/digits32", pipeline=test_pipeline, test_mode=True),
)
