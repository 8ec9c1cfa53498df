"""From a trained model to ONNX and to the pre-processing that all later stages read.

export.py          both, compared with the source's own computation
source.py          what export needs of a source; sources.py: which kind an entry names
mmcls_source.py    an mmcls config and a checkpoint
mmcls_model.py     the config, and the network that mmcls builds from it
own_modules.py     modules beside the config; reads.py: which files it reads, all of which DVC has to see
mmcls_pipeline.py  the config's test pipeline as a Preprocess
mmcls_package.py   mmcls and mmcv themselves
mmpretrain/        mmpretrain 1.x, brought into mmcls's form
checkpoint.py      the weights; torch_file.py, stored_tensors.py, safetensors_file.py: its files, read without running them
onnx_model.py      the network as ONNX
onnx_source.py     an ONNX file, without torch; onnx_file.py, onnx_header.py, onnx_input.py, onnx_scores.py: what is in it;
                   onnx_normalize.py, onnx_opset.py, onnx_gemm.py: what becomes of it; onnx_session.py: ONNX Runtime
onnx_quantized.py  a model trained with fake quantization: the fp32 network underneath, and its scales; onnx_integers.py,
                   onnx_fake_quantize.py: what the operators say; onnx_affine.py, onnx_constants.py: what frameworks put around them
library_source.py  a network of timm or torchvision by its name; library.py, libraries.py, timm_library.py, torchvision_library.py:
                   what these say of it; timm_import.py: where they are installed
own_preprocess.py  what an entry says happens to an image as a Preprocess
rewrites/          what pnnx and ncnn lack, by other operators: one file a family; apply_rewrites.py runs them
"""
