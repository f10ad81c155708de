# Decides whether src/cuda is built and for which architectures (LB_CUDA_ARCHITECTURES).
set(LB_WITH_CUDA OFF)
