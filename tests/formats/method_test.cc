// Every name that users of other tools type is a method or is refused with a reason.
#include "quantize/method.h"

#include <gtest/gtest.h>

#include <set>

#include "base/check.h"

namespace lowbit {
namespace {

std::string error_of(const std::string& text) {
  try {
    parse_method(text);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

// What a name means: "FORMATS by QUANTIZER", as description() has it, and whom it follows.
struct Meaning {
  const char* name;
  const char* is;
};

void expect_meanings(std::span<const Meaning> meanings, const std::string& tool) {
  for (const Meaning& m : meanings) {
    ASSERT_EQ(error_of(m.name), "") << m.name;
    const Method method = parse_method(m.name);
    EXPECT_EQ(description(method), m.is) << m.name;
    EXPECT_EQ(method.asked, m.name);
    EXPECT_NE(method.tool.find(tool), std::string_view::npos) << m.name << ": " << method.tool;
  }
}

TEST(Methods, OfLowBitInference) {
  constexpr Meaning kNames[] = {
      {"default", "int8-sbf16 by torchao-0.9.0"},
      {"bf16_int8", "int8-sbf16 by torchao-0.9.0"},
      {"bf16_int4", "int4-g128 by hqq-0.2.8"},
      {"bf16_fp8", "fp8 by torchao-0.18.0"},
      {"torchao_exp:default", "int8-sbf16 by torchao-0.9.0"},
      {"torchao_exp:bf16_int8", "int8-sbf16 by torchao-0.9.0"},
      {"torchao_exp:bf16_int4", "int4-g128 by hqq-0.2.8"},
      {"torchao_exp:bf16_fp8", "fp8 by torchao-0.18.0"},
      {"gemlite_exp:default", "int8-rzero-sbf16 by hqq-0.2.8"},
      {"gemlite_exp:bf16_int8", "int8-rzero-sbf16 by hqq-0.2.8"},
      {"gemlite_exp:bf16_int4", "int4-rzero by hqq-0.2.8"},
      {"bf16_int1", "int1-rzero by hqq-0.2.8"},
      {"bf16_fp1.58", "ternary"},
      {"bf16_mxfp4", "mxfp4-rceil by gemlite-0.5.1"},
      {"bf16_mxfp8", "mxfp8 by gemlite-0.5.1"},
      {"int8_fp1.58", "ternary+int8"},
      {"int8_int8", "int8+int8 by gemlite-0.5.1"},
      {"mxfp4_mxfp4", "mxfp4-rceil+mxfp4-rceil by gemlite-0.5.1"},
      {"mxfp8_mxfp8", "mxfp8+fp8 by gemlite-0.5.1"},
      {"nvfp4_nvfp4", "nvfp4+nvfp4 by gemlite-0.5.1"},
  };
  expect_meanings(kNames, "low-bit-inference");
  for (const Meaning& m : kNames) {
    EXPECT_EQ(parse_method(m.name).scope.head, "bf16") << m.name;
    EXPECT_EQ(parse_method(m.name).scope.embedding, "stored") << m.name;
  }
  EXPECT_NE(parse_method("bf16_int4").note.find("gemlite_exp:bf16_int4"), std::string::npos);
  EXPECT_NE(parse_method("mxfp8_mxfp8").note.find("per token"), std::string::npos);
}

TEST(Methods, OfTheTorchaoHarness) {
  constexpr Meaning kNames[] = {
      {"baseline", "bf16"},
      {"int8wo", "int8-sbf16 by torchao-0.9.0"},
      {"int8dq", "int8-sbf16+int8 by torchao-0.9.0"},
      {"int8dq_prefill_wo_decode", "int8-sbf16+int8 by torchao-0.9.0"},
      {"int8dq+semi-structured", "int8-sbf16-24+int8 by torchao-0.9.0"},
      {"int8dq + semi", "int8-sbf16-24+int8 by torchao-0.9.0"},
      {"int4wo-32", "int4-g32 by torchao-0.9.0"},
      {"int4wo-64", "int4 by torchao-0.9.0"},
      {"int4wo-128", "int4-g128 by torchao-0.9.0"},
      {"int4wo-256", "int4-g256 by torchao-0.9.0"},
      {"int4wo-64-hqq", "int4 by hqq-0.2.8"},
      {"int4wo-128-gptq", "int4-g128 by gptq"},
      {"int4wo-64-GPTQ", "int4 by gptq"},
      {"int4wo-64-hqq-gptq", "int4 by gptq"},
      {"int4dq-4", "int4-row-sym+int4-row-sym by torchao-0.9.0"},
      {"int4dq-8", "int4-row-sym+int8 by torchao-0.9.0"},
      {"int8adq-int4w-symm", "int4-row-sym+int8 by torchao-0.9.0"},
      {"sparse-marlin", "int4-g128-sym-sf16-24 by torchao-0.9.0"},
      {"marlin+semi-structured", "int4-g128-sym-sf16-24 by torchao-0.9.0"},
      {"marlin_qqq", "qqq+int8 by torchao-0.9.0"},
      {"marlin_qqq-row", "qqq-row+int8 by torchao-0.9.0"},
      {"torchao:codebook", "codebook"},
      {"torchao:fp6", "fp6-sbf16 by torchao-0.9.0"},
      {"embed-int8wo", "bf16 by torchao-0.9.0"},
      {"uintx-1-64", "int1-asym by torchao-0.9.0"},
      {"uintx-2-8", "int2-g8-asym by torchao-0.9.0"},
      {"uintx-3-32", "int3-g32-asym by torchao-0.9.0"},
      {"uintx-4-64", "int4-asym by torchao-0.9.0"},
      {"uintx-5-64", "int5-asym by torchao-0.9.0"},
      {"uintx-6-64", "int6-asym by torchao-0.9.0"},
      {"uintx-7-64", "int7-asym by torchao-0.9.0"},
      {"uintx-8-64", "int8-g64-asym-sbf16 by torchao-0.9.0"},
      {"uintx-4-64-hqq", "int4 by hqq-0.2.8"},
      {"uintx-2-8-hqq", "int2-g8 by hqq-0.2.8"},
      {"float8wo", "fp8-sbf16 by torchao-0.9.0"},
      {"float8dq", "fp8-tensor+fp8-tensor by torchao-0.9.0"},
      {"float8dq-tensor", "fp8-tensor+fp8-tensor by torchao-0.9.0"},
      {"float8dq-row", "fp8+fp8 by torchao-0.9.0"},
      {"float8dq+semi-structured", "fp8-24+fp8-e5m2 by torchao-0.9.0"},
      {"float8_a1x128_w128x128", "fp8-b128x128+fp8-g128 by torchao-0.18.0"},
      {"int8_dynamic_activation_intx_weight-4-32-false", "int4-g32-sym-sf32+int8 by torchao-0.9.0"},
      {"int8_dynamic_activation_intx_weight-3--1-true", "int3-row-asym-sf32+int8 by torchao-0.9.0"},
      {"gemlite-4-64-wo", "int4-rzero-sf16 by hqq-0.2.8"},
      {"gemlite-4-128-dq", "int4-g128-rzero-sf16+fp8 by hqq-0.2.8"},
      {"gemlite-4-None-wo", "int4-row-rzero-sf16 by hqq-0.2.8"},
      {"gemlite-8-None-wo", "int8-sf16 by torchao-0.9.0"},
      {"gemlite-8-None-dq", "int8-sf16+int8 by torchao-0.9.0"},
      {"gemlite-32-4-64", "int4-rzero-sf16 by hqq-0.2.8"},
      {"gemlite-8-4-64", "int4-rzero-sf16 by hqq-0.2.8"},
      {"gemlitewo-4-64", "int4-rzero-sf16 by hqq-0.2.8"},
      {"gemlitewo-8-None", "int8-sf16 by torchao-0.9.0"},
      {"tensorwise", "fp8-tensor+fp8-tensor by torchao-0.18.0"},
      {"rowwise", "fp8+fp8 by torchao-0.18.0"},
      {"mxfp8_cublas", "mxfp8-floor+mxfp8-floor by torchao-0.18.0"},
      {"mxfp8_cublas_rceil", "mxfp8+mxfp8 by torchao-0.18.0"},
      {"mxfp8_cutlass", "mxfp8-floor+mxfp8-floor by torchao-0.18.0"},
      {"mxfp8_emulated", "mxfp8-floor+mxfp8-floor by torchao-0.18.0"},
      {"mxfp4_cutlass", "mxfp4+mxfp4 by torchao-0.18.0"},
      {"mxfp4_emulated", "mxfp4+mxfp4 by torchao-0.18.0"},
      {"nvfp4_cutlass", "nvfp4+nvfp4 by torchao-0.18.0"},
      {"nvfp4_emulated", "nvfp4+nvfp4 by torchao-0.18.0"},
  };
  expect_meanings(kNames, "torchao 0.9.0");
  for (const Meaning& m : kNames) {
    const bool table = std::string_view(m.name) == "embed-int8wo";
    EXPECT_EQ(parse_method(m.name).scope.head, table ? "stored" : "same") << m.name;
  }
  EXPECT_EQ(parse_method("embed-int8wo").scope.embedding, "int8-g64-sbf16");
  EXPECT_TRUE(parse_method("int8dq_prefill_wo_decode").scope.prefill_only);
  EXPECT_EQ(parse_method("int8dq+semi-structured").scope.include, "feed_forward");
  EXPECT_EQ(parse_method("int8dq+semi-structured").scope.others, "int8-sbf16+int8");
  EXPECT_EQ(parse_method("marlin+semi-structured").scope.include, "feed_forward,attention");
  EXPECT_EQ(parse_method("sparse-marlin").scope.include, "");
}

TEST(Methods, OfTheTorchaoHarnessThatPrepareTheWeights) {
  constexpr Meaning kNames[] = {
      {"awq-uint4-64", "int4 by awq and torchao-0.9.0"},
      {"awq-uint4-128-hqq", "int4-g128 by awq and hqq-0.2.8"},
      {"awq-uint3-32", "int3-g32-asym by awq and torchao-0.9.0"},
      {"awq-uint8-64", "int8-g64-asym-sbf16 by awq and torchao-0.9.0"},
      {"awq-int4-128", "int4-g128-sym by awq"},
      {"spinquant", "bf16 by spinquant"},
      {"int4wo-64-spinquant", "int4 by spinquant and torchao-0.9.0"},
      {"spinquant-int8dq", "int8-sbf16+int8 by spinquant and torchao-0.9.0"},
      {"spinquant + int4-row+int8", "int4-row+int8 by spinquant"},
      {"awq-uint4-64-spinquant", "int4 by spinquant+awq and torchao-0.9.0"},
      {"baseline+bsr-0.9-64", "bf16 by bsr-0.9-64"},
      {"bsr-0.9-64", "bf16 by bsr-0.9-64"},
      {"int8wo + bsr-0.5-32", "int8-sbf16 by bsr-0.5-32 and torchao-0.9.0"},
      {"int4-row+int8+bsr-0.5-32", "int4-row+int8 by bsr-0.5-32"},
  };
  expect_meanings(kNames, "torchao 0.9.0");
  EXPECT_TRUE(parse_method("awq-int4-128").prepare.awq);
  EXPECT_TRUE(parse_method("spinquant-int8dq").prepare.rotate);
  EXPECT_EQ(parse_method("int8wo+bsr-0.5-32").prepare.prune, (BlockSparsity{0.5, 32}));
  EXPECT_NE(parse_method("int8wo+bsr-0.5-32").note.find("no kernel here skips"), std::string::npos);
}

TEST(Methods, AutoroundReadsTheFieldsOfTheHarness) {
  const Method plain = parse_method("autoround");
  EXPECT_EQ(description(plain), "int4-g128 by autoround");
  EXPECT_EQ(plain.iterations, 0);
  EXPECT_EQ(plain.scope.head, "bf16");
  EXPECT_NE(plain.note.find("--calibration"), std::string::npos);
  const Method all = parse_method("autoround-cuda-1-50-64-8-2048-128-1-0");
  EXPECT_EQ(description(all), "int4 by autoround");
  EXPECT_EQ(all.iterations, 50);
  EXPECT_EQ(all.scope.head, "same");
  for (const char* field : {"No effect here: device, batch_size, seqlen, nsamples"}) {
    EXPECT_NE(all.note.find(field), std::string::npos) << all.note;
  }
  EXPECT_EQ(parse_method("autoround-cpu-0-7").iterations, 7);
}

TEST(Methods, OfTheTorchaoConfigs) {
  constexpr Meaning kNames[] = {
      {"Int8WeightOnlyConfig", "int8 by torchao-0.18.0"},
      {"Int8WeightOnlyConfig-tensor", "int8-tensor by torchao-0.18.0"},
      {"Int8WeightOnlyConfig-64", "int8-g64 by torchao-0.18.0"},
      {"Int8WeightOnly", "int8 by torchao-0.18.0"},
      {"Int8DynamicActivationInt8WeightConfig", "int8+int8 by torchao-0.18.0"},
      {"Int4WeightOnlyConfig", "int4-g128 by torchao-0.18.0"},
      {"Int4WeightOnlyConfig-32", "int4-g32 by torchao-0.18.0"},
      {"Int4WeightOnlyConfig-128-hqq", "int4-g128 by hqq-0.2.8"},
      {"Int4WeightOnly", "int4-g128 by torchao-0.18.0"},
      {"Float8WeightOnlyConfig", "fp8 by torchao-0.18.0"},
      {"Float8WeightOnly", "fp8 by torchao-0.18.0"},
      {"Float8DynamicActivationFloat8WeightConfig", "fp8-tensor+fp8-tensor by torchao-0.18.0"},
      {"Float8DynamicActivationFloat8WeightConfig-row", "fp8+fp8 by torchao-0.18.0"},
      {"Float8DynamicActivationInt4WeightConfig", "int4-g128-sym+fp8"},
      {"IntxWeightOnlyConfig", "int8-sbf16 by torchao-0.18.0"},
      {"IntxWeightOnlyConfig-int4-32", "int4-g32-sym by torchao-0.18.0"},
      {"Int8DynamicActivationIntxWeightConfig", "int8-g32-sbf16+int8 by torchao-0.18.0"},
      {"Int8DynamicActivationIntxWeightConfig-int4-32", "int4-g32-sym+int8 by torchao-0.18.0"},
      {"MXDynamicActivationMXWeightConfig", "mxfp8+mxfp8 by torchao-0.18.0"},
      {"MXDynamicActivationMXWeightConfig-mxfp4", "mxfp4-rceil+mxfp4-rceil by torchao-0.18.0"},
      {"NVFP4DynamicActivationNVFP4WeightConfig", "nvfp4+nvfp4 by torchao-0.18.0"},
      {"NVFP4WeightOnlyConfig", "nvfp4 by torchao-0.18.0"},
      {"NVFP4WeightOnly", "nvfp4 by torchao-0.18.0"},
      {"FPXWeightOnlyConfig", "fp6-sbf16 by torchao-0.9.0"},
      {"UIntxWeightOnlyConfig", "int4-rzero-sf16 by hqq-0.2.8"},
      {"CodebookWeightOnlyConfig", "codebook"},
      {"AWQConfig", "int4-g128 by awq and torchao-0.18.0"},
  };
  expect_meanings(kNames, "config classes");
}

TEST(Methods, OfGemlite) {
  constexpr Meaning kNames[] = {
      {"A16W8", "int8-sbf16 by gemlite-0.5.1"},
      {"A16W8_INT8", "int8-sbf16 by gemlite-0.5.1"},
      {"A16W8_FP8", "fp8-sbf16 by gemlite-0.5.1"},
      {"A16W8_HQQ_INT", "int8-rzero-sbf16 by hqq-0.2.8"},
      {"A16W4_HQQ_INT", "int4-rzero by hqq-0.2.8"},
      {"A16W2_HQQ_INT", "int2-rzero by hqq-0.2.8"},
      {"A16W1_HQQ_INT", "int1-rzero by hqq-0.2.8"},
      {"A16W8_MXFP", "mxfp8 by gemlite-0.5.1"},
      {"A16W4_MXFP", "mxfp4-rceil by gemlite-0.5.1"},
      {"A16W4_NVFP", "nvfp4"},
      {"A8W8_dynamic", "int8+int8 by gemlite-0.5.1"},
      {"A8W8_INT8_dynamic", "int8+int8 by gemlite-0.5.1"},
      {"A8W8_int8_dynamic", "int8+int8 by gemlite-0.5.1"},
      {"A8W8_FP8_dynamic", "fp8+fp8 by gemlite-0.5.1"},
      {"A8W8_fp8_dynamic", "fp8+fp8 by gemlite-0.5.1"},
      {"A8W8_FP8_dynamic(block_quant=True)", "fp8-b128x128+fp8-g128"},
      {"A8W4_HQQ_INT_dynamic", "int4-rzero+fp8 by hqq-0.2.8"},
      {"A8W2_HQQ_INT_dynamic", "int2-rzero+fp8 by hqq-0.2.8"},
      {"A8W8_MXFP_dynamic", "mxfp8+fp8 by gemlite-0.5.1"},
      {"A8W8_MXFP_dynamic(post_scale=False)", "mxfp8+mxfp8 by gemlite-0.5.1"},
      {"A8W4_MXFP_dynamic", "mxfp4-rceil+fp8 by gemlite-0.5.1"},
      {"A4W4_MXFP_dynamic", "mxfp4-rceil+mxfp4-rceil by gemlite-0.5.1"},
      {"A4W4_NVFP_dynamic", "nvfp4+nvfp4 by gemlite-0.5.1"},
      {"A16W158_INT", "ternary"},
      {"A8W158_INT_dynamic", "ternary+int8"},
  };
  expect_meanings(kNames, "gemlite");
}

TEST(Methods, OfLlamaCpp) {
  constexpr Meaning kNames[] = {
      {"F32", "f32"},
      {"F16", "f16"},
      {"BF16", "bf16"},
      {"Q8_0", "q8_0 by gguf-0.19.0"},
      {"Q5_1", "q5_1 by gguf-0.19.0"},
      {"Q5_0", "q5_0 by gguf-0.19.0"},
      {"Q4_1", "q4_1 by gguf-0.19.0"},
      {"Q4_0", "q4_0 by gguf-0.19.0"},
      {"TQ2_0", "tq2_0 by gguf-0.19.0"},
      {"TQ1_0", "tq1_0 by gguf-0.19.0"},
      {"MXFP4_MOE", "mxfp4"},
      {"Q2_K_S", "q2_k, more bits for some tensors"},
      {"Q3_K_S", "q3_k, more bits for some tensors"},
      {"Q3_K_M", "q3_k, more bits for some tensors"},
      {"Q3_K_L", "q3_k, more bits for some tensors"},
      {"Q4_K_S", "q4_k, more bits for some tensors"},
      {"Q4_K_M", "q4_k, more bits for some tensors"},
      {"Q5_K_S", "q5_k, more bits for some tensors"},
      {"Q5_K_M", "q5_k, more bits for some tensors"},
  };
  expect_meanings(kNames, "llama.cpp");
  EXPECT_EQ(description(parse_method("q4_k_m")), "q4_k, more bits for some tensors");
  EXPECT_EQ(parse_method("q4_0").tool, "");  // a format of ours
  EXPECT_EQ(parse_method("q4_0").note, "");
  for (const char* name : {"Q6_K", "Q5_K", "Q4_K", "Q3_K", "Q2_K", "MXFP4", "NVFP4"}) {
    EXPECT_EQ(error_of(name), "") << name;
  }
}

// The reason, and something that works instead.
TEST(Methods, NamesWithoutAnImplementationSayWhy) {
  const struct {
    const char* name;
    std::vector<std::string> parts;
  } kRows[] = {
      {"autoquant", {"timed candidates", "int8wo"}},
      {"autoquant-int4", {"timed candidates"}},
      {"autoquant-float8", {"timed candidates"}},
      {"autoquant-fp", {"timed candidates"}},
      {"autoquant-sparse", {"timed candidates"}},
      {"autoquant-gemlite-int4", {"timed candidates"}},
      {"autoquant-all", {"timed candidates"}},
      {"autoquant_v2", {"timed candidates"}},
      {"autoquant_v2-int4", {"timed candidates"}},
      {"bf16/auto", {"timed candidates"}},
      {"bf16/bf16", {"nothing is quantized", "bf16 (or baseline)"}},
      {"autoquant_v2-all", {"timed candidates"}},
      {"awq-float8-64", {"awq-uint4-64", "awq-int4-128"}},
      {"awq-uint9-64", {"awq-uint4-64"}},
      {"awq-uint4", {"awq-uint4-64", "--prepare awq"}},
      {"autoround-cuda-2", {"quant_lm_head: `2` must be 0 to 1", "autoround-cuda-0-200"}},
      {"autoround-cuda-0-0", {"iters: `0` must be 1 to"}},
      {"autoround-cuda-0-200-48", {"power of two"}},
      {"autoround-cuda-0-200-64-x", {"batch_size: `x`"}},
      {"autoround-cuda-0-1-64-8-2048-128-1-0-7", {"<grad_acc_steps>"}},
      {"autoround-", {"device: is empty"}},
      {"autoroundx", {"write autoround, or autoround-<device>"}},
      {"GroupwiseLutWeightConfig", {"codebook has one"}},
      {"fbgemm-int4-128", {"help only mentions it", "int4wo-128"}},
      {"marlin", {"sparse-marlin", "marlin_qqq"}},
      {"gemlite-8-64-wo", {"one scale a row", "gemlite-8-None-wo"}},
      {"gemlite-2-64-wo", {"4 bits in groups", "int2-g64"}},
      {"gemlite-32-2-64", {"4 bits in groups"}},
      {"gemlitewo-2-64", {"4 bits in groups"}},
      {"awq", {"awq-uint4-64", "--prepare awq"}},
      {"float8wo+semi-structured", {"2:4 goes with int8dq"}},
      {"baseline+block", {"baseline+bsr-0.9-64"}},
      {"block", {"bsr-0.9-64"}},
      {"semi-structured", {"is 2:4", "int8dq+semi-structured", "-24"}},
      {"semi", {"int8dq+semi-structured"}},
      {"2:4", {"int8dq+semi-structured"}},
      {"bsr-0.9", {"write bsr-<level>-<block>"}},
      {"bsr-1-64", {"above 0 and below 1"}},
      {"nvfp4_static", {"calibration", "nvfp4+nvfp4"}},
      {"baseline+bsr-1-64", {"above 0 and below 1"}},
      {"baseline+bsr-0.9-1", {"block must be 2 to 1024"}},
      {"int8wo+bsr-0.9", {"write bsr-<level>-<block>"}},
      {"Int8StaticActivationInt8WeightConfig", {"calibration"}},
      {"A16Wn_HQQ_INT", {"A16W4_HQQ_INT"}},
      {"A16Wn_MXFP", {"A16W4_MXFP"}},
      {"A8Wn_HQQ_INT_dynamic", {"A8W4_HQQ_INT_dynamic"}},
      {"A8Wn_MXFP_dynamic", {"A8W8_MXFP_dynamic"}},
      {"A8W8_INT8_dynamic(block_quant=True)", {"int8-g128"}},
      {"IQ1_S", {"eight weights at a time", "TQ1_0", "Q2_K_S"}},
      {"IQ1_M", {"eight weights at a time", "Q2_K_S"}},
      {"IQ2_XXS", {"eight weights at a time", "Q2_K_S", "int2-g32"}},
      {"IQ2_M", {"eight weights at a time", "Q2_K_S"}},
      {"IQ3_XXS", {"four weights at a time", "Q3_K_S", "int3-g64"}},
      {"IQ3_M", {"four weights at a time", "Q3_K_S"}},
      {"IQ4_NL", {"table of 16 numbers", "codebook", "Q4_K_S"}},
      {"IQ4_XS", {"table of 16 numbers", "codebook"}},
      {"iq4_xs", {"table of 16 numbers"}},
      {"Q4_0_4_8", {"order of one processor", "use Q4_0"}},
      {"Q8_1", {"activations", "use Q8_0"}},
      {"q8_k", {"activations", "use Q8_0"}},
      {"copy", {"as it is stored"}},
      {"COPY", {"as it is stored"}},
  };
  for (const auto& row : kRows) {
    const std::string error = error_of(row.name);
    EXPECT_TRUE(error.starts_with(std::string(row.name) + ": ")) << error;
    for (const std::string& part : row.parts) {
      EXPECT_NE(error.find(part), std::string::npos) << part << "\n  in " << error;
    }
  }
}

TEST(Methods, OurOwnNamesMeanThemselves) {
  for (const FormatRow& row : kFormats) {
    const Method method = parse_method(row.name);
    EXPECT_EQ(method.formats.weights, row.defaults);
    EXPECT_EQ(method.quantizer->name, "rtn");
    EXPECT_EQ(method.tool, "");
    EXPECT_EQ(method.scope, MethodScope{});
  }
  for (const FormatAlias& alias : kAliases) {
    EXPECT_EQ(parse_method(alias.alias).formats.weights, parse_format(alias.name)) << alias.alias;
  }
  EXPECT_EQ(description(parse_method("int4-g32+bf16")), "int4-g32+bf16");
  EXPECT_EQ(description(parse_method("fp8_e4m3+fp8")), "fp8+fp8");
  // Two tools have formats of ours as names, with rules of their own.
  EXPECT_NE(parse_method("fp6").note.find("torchao:fp6"), std::string::npos);
}

TEST(Methods, EveryRowOfTheTableResolvesOrHasAReason) {
  std::set<std::string> seen;
  for (const MethodGroup& group : method_groups()) {
    for (const MethodRow& row : group.rows) {
      EXPECT_TRUE(seen.insert(fmt::format("{}:{}", group.qualifier, row.pattern)).second)
          << row.pattern;
      EXPECT_EQ(row.formats.empty() && row.note.empty(), false) << row.pattern;
      std::string name(row.pattern);
      const std::pair<std::string, std::string> kExamples[] = {
          {"{n}", "4"},
          {"{g}", "64"},
          {"{p}", "32"},
          {"{*}", row.quantizer == "autoround" ? "" : "x"}};
      for (const auto& [placeholder, example] : kExamples) {
        const size_t at = name.find(placeholder);
        if (at != std::string::npos) name.replace(at, placeholder.size(), example);
      }
      const std::string error = error_of(fmt::format("{}:{}", group.qualifier, name));
      EXPECT_EQ(error.empty(), !row.formats.empty()) << name << " " << error;
    }
  }
}

TEST(Methods, APlaceForOneFormatTakesNamesThatMeanOne) {
  EXPECT_EQ(parse_one_format("int4wo-64").formats.weights, parse_format("int4"));
  EXPECT_EQ(parse_one_format("int4wo-64").quantizer->name, "torchao-0.9.0");
  EXPECT_EQ(parse_cache_name("int8wo"), parse_cache_format("int8-sbf16"));
  EXPECT_EQ(parse_cache_name("int8-sf32"), parse_cache_format("int8-sf32"));
  EXPECT_EQ(parse_cache_name("Q8_0"), parse_cache_format("q8_0"));
  const std::pair<const char*, const char*> kRows[] = {
      {"int8dq", "write int8-sbf16"},
      {"int8+int8", "write int8"},
      {"marlin+semi", "write int4-g128-sym-sf16-24"},
      {"embed-int8wo", "write int8-g64-sbf16"},
      {"Q4_K_M", "write q4_k"},
      {"awq-uint4-64", "write int4, and --prepare awq beside it"},
      {"int8wo-spinquant", "write int8-sbf16, and --prepare spinquant"},
  };
  for (const auto& [name, part] : kRows) {
    try {
      parse_one_format(name);
      ADD_FAILURE() << name;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    }
  }
}

TEST(Methods, UnknownNamesAreErrorsWithSuggestions) {
  const std::pair<const char*, const char*> kRows[] = {
      {"int9", "unknown format `int9`, did you mean `int8`, `int7` or `int6`"},
      {"int8w", "`int8wo`"},
      {"int4wo-65x", "`int4wo-64`"},
      {"int4wo", "unknown format `int4wo`, did you mean `int4wo-64` or `int4wo-64-hqq` or "},
      {"uintx", "`uintx-8-64` or `uintx-4-64`"},
      {"gemlitewo", "`gemlitewo-4-64`"},
      {"int8_dynamic_activation_intx_weight", "`int8_dynamic_activation_intx_weight-4-64-false`"},
      {"bf16/int8", "did you mean `bf16_int8`, `bf16_int4` or `bf16_int1`?"},
      {"gptq",
       "is a quantizer, which chooses the codes of a format: --format int4 --quantizer gptq"},
      {"hqq-0.2.8", "--quantizer hqq-0.2.8"},
      {"bf16_in8", "`bf16_int8`"},
      {"Int8WeightOnlyConfg", "`Int8WeightOnlyConfig`"},
      {"A16W4_HQQ_IN", "`A16W4_HQQ_INT`"},
      {"", "unknown format ``"},
      {"int4wo-48", "power of two"},
      {"codebook-4-64", "unknown parameter `-4`; codebook takes -g8 to -g256"},
      {"codebook+codebook", "cannot hold activations"},
      {"spinquant-int44", "unknown format `int44`"},
      {"uintx-9-64", "did you mean `uintx-8-64` or `uintx-4-64`"},
      {"torchao_exp:bf16_int1", "torchao_exp has no method `bf16_int1`"},
      {"toarchao:fp6", "unknown tool `toarchao`, did you mean `torchao`"},
      {"fp8-asym", "unknown parameter `-asym`"},
      {"int8+int3", "cannot hold activations"},
      {"+int8", "a side of the pair `+int8` is empty"},
      {" + int8", "a side of the pair `"},
      {"int8+", "a side of the pair `"},
      {"+", "a side of the pair `"},
  };
  for (const auto& [name, part] : kRows) {
    EXPECT_NE(error_of(name).find(part), std::string::npos) << name << ": " << error_of(name);
  }
}

}  // namespace
}  // namespace lowbit
