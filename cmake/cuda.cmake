# Decides whether src/cuda is built (LB_WITH_CUDA) and for which architectures.
# lb_cuda_library(<folder> HOST a.cc ... DEVICE b.cu c_sm90a.cu ...): only DEVICE sources meet nvcc;
# a suffix _sm90a or _sm120a builds a file for that architecture alone and defines LB_CUDA_SM90A or
# LB_CUDA_SM120A for the library where the architecture is among those asked for.

set(LB_WITH_CUDA OFF)
if(NOT LB_CUDA MATCHES "^(ON|OFF|AUTO)$")
  message(FATAL_ERROR "LB_CUDA=${LB_CUDA}: must be ON, OFF or AUTO")
endif()
if(LB_CUDA STREQUAL "OFF")
  message(STATUS "CUDA backend: off (LB_CUDA=OFF)")
  return()
endif()

find_program(LB_NVCC nvcc HINTS ENV CUDA_PATH PATHS /usr/local/cuda PATH_SUFFIXES bin)
if(NOT LB_NVCC)
  if(LB_CUDA STREQUAL "ON")
    message(FATAL_ERROR "LB_CUDA=ON, but nvcc is neither on PATH nor in /usr/local/cuda/bin: "
      "install the CUDA toolkit (12.8 or newer), or set LB_CUDA=OFF")
  endif()
  message(STATUS "CUDA backend: off (nvcc is neither on PATH nor in /usr/local/cuda/bin)")
  return()
endif()

# The GPU at hand, as nvcc writes it: Hopper and newer have an `a` set with their own instructions.
set(lb_architectures ${LB_CUDA_ARCHITECTURES})
if(NOT lb_architectures)
  set(lb_architectures 90a)
  execute_process(COMMAND nvidia-smi --query-gpu=compute_cap --format=csv,noheader
    OUTPUT_VARIABLE lb_gpus ERROR_QUIET)
  if(lb_gpus MATCHES "^([0-9]+)\\.([0-9])")
    set(lb_architectures ${CMAKE_MATCH_1}${CMAKE_MATCH_2})
    if(lb_architectures GREATER_EQUAL 90)
      string(APPEND lb_architectures a)
    endif()
  endif()
endif()

set(CMAKE_CUDA_COMPILER ${LB_NVCC})
set(CMAKE_CUDA_ARCHITECTURES ${lb_architectures})  # before enable_language: its test uses them
set(CMAKE_CUDA_HOST_COMPILER ${CMAKE_CXX_COMPILER})
enable_language(CUDA)
if(CMAKE_CUDA_COMPILER_VERSION VERSION_LESS 12.8)
  message(FATAL_ERROR "nvcc ${CMAKE_CUDA_COMPILER_VERSION} at ${LB_NVCC} is too old: "
    "install CUDA 12.8 or newer, or set LB_CUDA=OFF")
endif()
find_package(CUDAToolkit REQUIRED)
set(LB_WITH_CUDA ON)
message(STATUS "CUDA backend: on (nvcc ${CMAKE_CUDA_COMPILER_VERSION}, ${lb_architectures})")

# CMake 3.25 does not know that nvcc 12 and newer speak C++20.
set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
# Kernels share constexpr functions with the host (base/fp.h).
add_library(lb_cuda_options INTERFACE)
target_compile_options(lb_cuda_options INTERFACE
  $<$<COMPILE_LANGUAGE:CUDA>:-lineinfo --threads=1 --expt-relaxed-constexpr -Xcompiler=-Wall>
  $<$<AND:$<BOOL:${LB_WERROR}>,$<COMPILE_LANGUAGE:CUDA>>:--Werror=all-warnings>)
target_compile_definitions(lb_cuda_options INTERFACE LB_WITH_CUDA=1)
target_link_libraries(lb_cuda_options INTERFACE CUDA::cudart_static)

function(lb_cuda_library folder)
  cmake_parse_arguments(ARG "" "" "HOST;DEVICE" ${ARGN})
  set(target lowbit_${folder})
  set(common ${ARG_DEVICE})
  list(FILTER common EXCLUDE REGEX "_sm[0-9]+a\\.cu$")
  lb_library(${folder} ${ARG_HOST} ${common})
  # nvcc's own link-time optimisation would need relocatable device code.
  set_target_properties(${target} PROPERTIES INTERPROCEDURAL_OPTIMIZATION OFF)
  target_link_libraries(${target} PUBLIC lb_cuda_options)
  foreach(architecture IN ITEMS 90a 120a)
    set(special ${ARG_DEVICE})
    list(FILTER special INCLUDE REGEX "_sm${architecture}\\.cu$")
    if(special AND architecture IN_LIST CMAKE_CUDA_ARCHITECTURES)
      add_library(${target}_sm${architecture} OBJECT ${special})
      set_target_properties(${target}_sm${architecture} PROPERTIES
        CUDA_ARCHITECTURES ${architecture} INTERPROCEDURAL_OPTIMIZATION OFF)
      target_link_libraries(${target}_sm${architecture} PRIVATE lb_options lb_cuda_options)
      target_sources(${target} PRIVATE $<TARGET_OBJECTS:${target}_sm${architecture}>)
      string(TOUPPER LB_CUDA_SM${architecture} definition)
      target_compile_definitions(${target} PRIVATE ${definition}=1)
    endif()
  endforeach()
endfunction()
