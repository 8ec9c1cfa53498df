"""ncnn's files, read and written: the graph (.param), the weights (.bin) and the calibration table; and ncnn itself, run.

net = load_net("fp32.param", "fp32.bin")
net.layers[1].weights["weight"].data.shape
save_net(net, "copy.param", "copy.bin")      # byte for byte what was read
"""
