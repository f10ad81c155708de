# lb_library(<folder> [sources...]): one static library per folder of src/, named lowbit_<folder>.
# lb_test(<name> SOURCES ... LINK ...): one gtest binary, registered with ctest.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE RelWithDebInfo)
endif()

find_program(LB_CCACHE ccache)
if(LB_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${LB_CCACHE})
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${LB_CCACHE})
endif()

add_library(lb_options INTERFACE)
target_include_directories(lb_options INTERFACE ${PROJECT_SOURCE_DIR}/src)
target_compile_options(lb_options INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion>
  $<$<AND:$<BOOL:${LB_WERROR}>,$<COMPILE_LANGUAGE:CXX>>:-Werror>)
if(LB_STATIC)
  target_link_options(lb_options INTERFACE -static-libstdc++ -static-libgcc)
endif()

function(lb_library folder)
  add_library(lowbit_${folder} STATIC ${ARGN})
  target_link_libraries(lowbit_${folder} PUBLIC lb_options)
  target_compile_definitions(lowbit_${folder} PUBLIC FMT_HEADER_ONLY=1)
endfunction()

function(lb_test name)
  cmake_parse_arguments(ARG "" "TIMEOUT" "SOURCES;LINK" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  add_executable(${name} ${ARG_SOURCES})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests)
  target_link_libraries(${name} PRIVATE ${ARG_LINK} lb::gtest lb_options)
  target_compile_definitions(${name} PRIVATE LB_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES TIMEOUT ${ARG_TIMEOUT})
endfunction()
