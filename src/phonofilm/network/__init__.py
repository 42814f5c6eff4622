"""Every network's parts: layers, blocks, ports, the backbone, contexts and alignment of the streams."""
