// How a tool that NVTX loads hears of ranges.
#pragma once

#include <nvtx3/nvToolsExt.h>

namespace lowbit {

// To be called from InitializeInjectionNvtx2, whose result it gives: 1 if ranges come.
inline int hear_ranges(NvtxGetExportTableFunc_t get_table, int (*push)(const char*), int (*pop)()) {
  const auto* callbacks =
      static_cast<const NvtxExportTableCallbacks*>(get_table(NVTX_ETID_CALLBACKS));
  NvtxFunctionTable functions = nullptr;
  unsigned int count = 0;
  if (!callbacks || !callbacks->GetModuleFunctionTable(NVTX_CB_MODULE_CORE, &functions, &count) ||
      count <= NVTX_CBID_CORE_RangePop) {
    return 0;
  }
  *functions[NVTX_CBID_CORE_RangePushA] = reinterpret_cast<NvtxFunctionPointer>(push);
  *functions[NVTX_CBID_CORE_RangePop] = reinterpret_cast<NvtxFunctionPointer>(pop);
  return 1;
}

}  // namespace lowbit
