// Ranges reach CUPTI's callbacks, through which NVIDIA's own tools hear of them. A process of its
// own: NVTX asks once which tool there is.
#include <cupti.h>
#include <dlfcn.h>
#include <generated_nvtx_meta.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "cuda/gpu.h"
#include "cuda/nvtx.h"

namespace lowbit {
namespace {

void hear(void* ranges, CUpti_CallbackDomain domain, CUpti_CallbackId id, const void* data) {
  if (domain != CUPTI_CB_DOMAIN_NVTX) return;
  auto& text = *static_cast<std::string*>(ranges);
  const void* params = static_cast<const CUpti_NvtxData*>(data)->functionParams;
  if (id == CUPTI_CBID_NVTX_nvtxRangePushA) {
    text += std::string("(") + static_cast<const nvtxRangePushA_params*>(params)->message;
  }
  if (id == CUPTI_CBID_NVTX_nvtxRangePop) text += ")";
}

// The tests run where binaries are brought to, and CUPTI may not be.
void* open_cupti() {
  for (const char* name : {"libcupti.so.13", "libcupti.so.12", "/usr/local/cuda/lib64/libcupti.so",
                           "/usr/local/cuda/extras/CUPTI/lib64/libcupti.so"}) {
    if (void* library = ::dlopen(name, RTLD_NOW)) return library;
  }
  return nullptr;
}

class CuptiCallbacks : public GpuTest {};

TEST_F(CuptiCallbacks, SeeRangesByTheirNamesInsideEachOther) {
  void* cupti = open_cupti();
  if (!cupti) GTEST_SKIP() << "CUPTI is not installed: " << ::dlerror();
  const auto subscribe =
      reinterpret_cast<decltype(&cuptiSubscribe)>(::dlsym(cupti, "cuptiSubscribe"));
  const auto enable =
      reinterpret_cast<decltype(&cuptiEnableDomain)>(::dlsym(cupti, "cuptiEnableDomain"));
  const auto unsubscribe =
      reinterpret_cast<decltype(&cuptiUnsubscribe)>(::dlsym(cupti, "cuptiUnsubscribe"));
  ASSERT_TRUE(subscribe && enable && unsubscribe);
  Dl_info where{};
  ASSERT_NE(::dladdr(reinterpret_cast<void*>(subscribe), &where), 0);
  ASSERT_EQ(::setenv("NVTX_INJECTION64_PATH", where.dli_fname, 1), 0);  // read by the first call

  std::string ranges;
  CUpti_SubscriberHandle subscriber{};
  ASSERT_EQ(subscribe(&subscriber, hear, &ranges), CUPTI_SUCCESS);
  ASSERT_EQ(enable(1, subscriber, CUPTI_CB_DOMAIN_NVTX), CUPTI_SUCCESS);
  cuda::push_range("decode at 7");
  cuda::push_range("layers.3.qkv");
  cuda::pop_range();
  cuda::pop_range();
  EXPECT_EQ(unsubscribe(subscriber), CUPTI_SUCCESS);
  EXPECT_EQ(ranges, "(decode at 7(layers.3.qkv))");
}

}  // namespace
}  // namespace lowbit
