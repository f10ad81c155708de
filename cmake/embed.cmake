# lb_embed(<target> <root> [files...]): links files into <target>, byte for byte, through the
# assembler (a C array of 14 MB would take minutes to compile). They are listed, under their paths
# relative to <root>, by embedded_files() in src/load/embedded.h; a changed file is linked again.
enable_language(ASM)

function(lb_embed target root)
  set(files ${ARGN})
  list(SORT files)
  set(assembly "    .section .rodata\n")
  set(declarations "")
  set(rows "")
  set(index 0)
  foreach(file IN LISTS files)
    file(RELATIVE_PATH path ${root} ${file})
    string(APPEND assembly
      "    .balign 64\n    .globl lb_embedded_${index}_begin, lb_embedded_${index}_end\n"
      "lb_embedded_${index}_begin:\n    .incbin \"${file}\"\nlb_embedded_${index}_end:\n")
    string(APPEND declarations
      "extern const std::byte lb_embedded_${index}_begin[], lb_embedded_${index}_end[];\n")
    string(APPEND rows
      "    {\"${path}\", lb_embedded_${index}_begin, lb_embedded_${index}_end},\n")
    math(EXPR index "${index} + 1")
  endforeach()
  string(APPEND assembly "    .byte 0\n    .section .note.GNU-stack,\"\",%progbits\n")

  set(stem ${CMAKE_CURRENT_BINARY_DIR}/embedded_files)
  file(CONFIGURE OUTPUT ${stem}.s CONTENT "${assembly}" @ONLY)
  file(CONFIGURE OUTPUT ${stem}.cc CONTENT [[
#include "load/embedded.h"

extern "C" {
@declarations@}

namespace lowbit {

static const EmbeddedFile kFiles[] = {
@rows@};

std::span<const EmbeddedFile> embedded_files() { return kFiles; }

}  // namespace lowbit
]] @ONLY)
  set_source_files_properties(${stem}.s PROPERTIES OBJECT_DEPENDS "${files}")
  target_sources(${target} PRIVATE ${stem}.s ${stem}.cc)
endfunction()
