// Every layout is packed from the canonical codes and turned back without loss.
#include <gtest/gtest.h>

#include <algorithm>

#include "bench/linear_cases.h"
#include "cpu/backend.h"
#include "kernels/linear_setup.h"

namespace lowbit {
namespace {

using namespace test;

TEST(Pack, EveryLayoutUnpacksToTheCanonicalCodes) {
  for (const Packer& packer : cpu_backend().packers) {
    for (const Format& format : every_weight_format()) {
      if (!packer.accepts(format)) continue;
      for (const LinearShape& shape : kRaggedLinearShapes) {
        if (!cannot_take(format, shape.n, shape.k).empty()) continue;
        const QTensor w = random_weights(format, shape.n, shape.k, 3);
        const QTensor packed = in_layout(w, packer.layout, cpu_backend().packers);
        std::vector<std::byte> back(w.codes.data.size(), std::byte{0xaa});
        packer.unpack(format, shape.n, shape.k, packed.codes.data.data(), back.data());
        EXPECT_TRUE(std::ranges::equal(back, w.codes.data))
            << name(packer.layout) << " " << name(format) << " " << shape.what;
      }
    }
  }
}

TEST(Pack, EveryLayoutThatARowNamesHasAPackerForItsFormats) {
  for (const LinearKernel& kernel : cpu_backend().linear_kernels) {
    for (const Format& format : every_weight_format()) {
      if (!kernel.weights(format) || kernel.layout == LayoutId::kCanonical) continue;
      EXPECT_TRUE(std::ranges::any_of(cpu_backend().packers,
                                      [&](const Packer& packer) {
                                        return packer.layout == kernel.layout &&
                                               packer.accepts(format);
                                      }))
          << kernel.name << " " << name(format);
    }
  }
}

}  // namespace
}  // namespace lowbit
