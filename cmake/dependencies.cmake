# The libraries we stand on, all from Debian packages (docs/adr lists them and why). Third-party
# code is linked statically, so that the release binary needs nothing beside glibc.

# lb_static(<target> <header> <archive>): an imported static library, or a clear message.
function(lb_static target header archive package)
  find_path(${target}_INCLUDE ${header})
  find_library(${target}_ARCHIVE ${archive})
  if(NOT ${target}_INCLUDE OR NOT ${target}_ARCHIVE)
    message(FATAL_ERROR "${header} or ${archive} not found: apt-get install ${package}")
  endif()
  add_library(lb::${target} STATIC IMPORTED GLOBAL)
  set_target_properties(lb::${target} PROPERTIES
    IMPORTED_LOCATION ${${target}_ARCHIVE}
    INTERFACE_INCLUDE_DIRECTORIES ${${target}_INCLUDE})
endfunction()

function(lb_header_only target header package)
  find_path(${target}_INCLUDE ${header})
  if(NOT ${target}_INCLUDE)
    message(FATAL_ERROR "${header} not found: apt-get install ${package}")
  endif()
  add_library(lb::${target} INTERFACE IMPORTED GLOBAL)
  set_target_properties(lb::${target} PROPERTIES
    INTERFACE_INCLUDE_DIRECTORIES ${${target}_INCLUDE})
endfunction()

find_package(Threads REQUIRED)
lb_header_only(fmt fmt/core.h libfmt-dev)
lb_header_only(json nlohmann/json.hpp nlohmann-json3-dev)
lb_header_only(cli11 CLI/CLI.hpp libcli11-dev)
lb_static(yaml yaml-cpp/yaml.h libyaml-cpp.a libyaml-cpp-dev)
lb_static(pcre2 pcre2.h libpcre2-8.a libpcre2-dev)
lb_static(sqlite sqlite3.h libsqlite3.a libsqlite3-dev)
lb_static(utf8proc utf8proc.h libutf8proc.a libutf8proc-dev)
set_property(TARGET lb::yaml APPEND PROPERTY INTERFACE_COMPILE_DEFINITIONS YAML_CPP_STATIC_DEFINE)
set_property(TARGET lb::utf8proc APPEND PROPERTY INTERFACE_COMPILE_DEFINITIONS UTF8PROC_STATIC)

if(LB_BUILD_TESTS)
  find_package(GTest REQUIRED)
  add_library(lb::gtest ALIAS GTest::gtest_main)
endif()
