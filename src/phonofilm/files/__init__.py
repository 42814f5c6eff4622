"""Reading and writing media and safetensors files."""
