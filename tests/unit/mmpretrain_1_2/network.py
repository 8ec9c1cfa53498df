data_preprocessor = dict(
    batch_augments=None,
    mean=[
        123.675,
        116.28,
        103.53,
    ],
    num_classes=3,
    std=[
        58.395,
        57.12,
        57.375,
    ],
    to_rgb=True,
    type="ClsDataPreprocessor",
)
default_scope = "mmpretrain"
model = dict(
    backbone=dict(
        base_channels=4,
        depth=18,
        dilations=(1,),
        num_stages=1,
        out_indices=(0,),
        stem_channels=4,
        strides=(1,),
        type="mmpretrain.ResNet",
    ),
    head=dict(in_channels=4, loss=dict(type="CrossEntropyLoss"), num_classes=3, topk=(1,), type="LinearClsHead"),
    neck=dict(type="GlobalAveragePooling"),
    type="ImageClassifier",
)
test_dataloader = dict(
    batch_size=1,
    dataset=dict(
        data_prefix="val",
        data_root="data/tiny",
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(backend="pillow", edge="short", interpolation="bicubic", scale=20, type="ResizeEdge"),
            dict(
                crop_size=(
                    18,
                    16,
                ),
                type="CenterCrop",
            ),
            dict(type="PackInputs"),
        ],
        type="CustomDataset",
    ),
    num_workers=0,
    sampler=dict(shuffle=False, type="DefaultSampler"),
)
