// A tool as NVTX loads it (NVTX_INJECTION64_PATH), which keeps the ranges of the process.
#include <nvtx3/nvToolsExt.h>

#include <string>

namespace {
std::string ranges;
}

extern "C" {

__attribute__((visibility("default"))) const char* nvtx_tool_ranges() { return ranges.c_str(); }

__attribute__((visibility("default"))) int InitializeInjectionNvtx2(
    NvtxGetExportTableFunc_t get_table) {
  const auto* callbacks =
      static_cast<const NvtxExportTableCallbacks*>(get_table(NVTX_ETID_CALLBACKS));
  NvtxFunctionTable functions = nullptr;
  unsigned int count = 0;
  if (!callbacks || !callbacks->GetModuleFunctionTable(NVTX_CB_MODULE_CORE, &functions, &count)) {
    return 0;
  }
  if (count <= NVTX_CBID_CORE_RangePop) return 0;
  const auto set = [&](int id, auto* function) {
    *functions[id] = reinterpret_cast<NvtxFunctionPointer>(function);
  };
  set(
      NVTX_CBID_CORE_RangePushA, +[](const char* name) -> int {
        ranges += std::string("(") + name;
        return 0;
      });
  set(
      NVTX_CBID_CORE_RangePop, +[]() -> int {
        ranges += ")";
        return 0;
      });
  return 1;
}

}  // extern "C"
