"""What runs on the device: kernels, the device functions they are made of, and the types they are launched with."""
