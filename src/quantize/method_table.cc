// Names of other tools. Rules and versions: a name of torchao's Llama harness and microbenchmarks
// follows torchao 0.9.0, the last one that has them all; the name of a config class 0.18.0; gemlite
// 0.5.1; hqq 0.2.8.post1; GGUF the gguf package 0.19.0.
#include "quantize/method.h"

namespace lowbit {
namespace {

constexpr std::string_view kAo9 = "torchao-0.9.0", kAo18 = "torchao-0.18.0",
                           kGemlite = "gemlite-0.5.1", kHqq = "hqq-0.2.8", kGguf = "gguf-0.19.0";

// Activations: one rule per format here (docs/adr/0018-activation-rules.md), each tool has its own.
constexpr std::string_view kInt8ActAo9 =
    "activations: torchao computes their scale in bf16 (within 0.4 % of this one), at least 1e-5";
constexpr std::string_view kInt8ActAo18 =
    "activations: torchao takes amax / 127.5 and codes from -128, here amax / 127";
constexpr std::string_view kInt8ActAsym =
    "activations: torchao has an integer zero per token, here they are symmetric (a bit less of 8)";
constexpr std::string_view kInt8ActGemlite =
    "activations: gemlite rounds halves away from zero, here to even; scales are at least 1e-6 "
    "there";
constexpr std::string_view kFp8ActAo9 =
    "activations: torchao multiplies by the reciprocal of the scale, here they are divided by it";
constexpr std::string_view kFp8Act =
    "activations: e4m3, as there but for their scales, which torchao rounds to bf16";
constexpr std::string_view kFp8ActGemlite =
    "activations: e4m3 per token, as there; scales are at least 1e-6 there";
constexpr std::string_view kPostScale =
    "activations are e4m3 per token, not blocks of 32: gemlite's default is post_scale=True; "
    "mxfp8+mxfp8 has the blocks";
constexpr std::string_view kFp4ActGemlite =
    "activations: gemlite rounds ties of e2m1 towards zero, here to even";
constexpr std::string_view kNvfp4ActGemlite =
    "weights under gemlite's fixed outer scale of 0.05; activations have an outer scale per token "
    "here, 0.05 there, and ties towards zero there";
constexpr std::string_view kNvfp4Recipe =
    "torchao calls this recipe nvfp4, which is weights alone here; activations: the outer scale is "
    "per token here, per tensor there";
constexpr std::string_view kNvfp4ActAo =
    "activations: the outer scale is per token here, per tensor there, so that a result does not "
    "depend on the other tokens of a batch";
constexpr std::string_view kTernary =
    "the tool wants a BitNet checkpoint and fails on a Llama; here any weights become the nearest "
    "of -1, 0, 1 times their mean magnitude, and ternary ones stay exact";
constexpr std::string_view kHqqAo =
    "torchao's copy of HQQ lets beta grow by 1.01 per iteration, the release this follows does "
    "not: zeros differ slightly, codes hardly";
constexpr std::string_view kIntx = "bf16 scales, in bf16 arithmetic";

// Names that nothing stands behind, and what to use.
constexpr std::string_view kAutoquant =
    "autoquant is no format: it timed candidates and took the fastest for each layer (int8wo for "
    "all of them on most GPUs); `lowbit bench format=all` measures them, int8wo is the usual "
    "result";
constexpr std::string_view kUnquantized =
    "low-bit-inference's tables say activations/weights: nothing is quantized here";
constexpr std::string_view kGemliteBits =
    "torchao's gemlite has 4 bits in groups (gemlite-4-64-wo) and 8 with one scale a row "
    "(gemlite-8-None-wo); of other widths there are int1 to int7, as int2-g64";
constexpr std::string_view kAwq =
    "columns are scaled by what layers read on a text: needs --calibration TEXT; torchao takes the "
    "first page of wikitext";
constexpr std::string_view kAwqNames =
    "AWQ is named with a type and a group size: awq-uint4-64 (asymmetric, uint1 to uint8), "
    "awq-int4-128 (symmetric), awq-uint4-64-hqq; of any other format, --prepare awq";
constexpr std::string_view kAwqAlone =
    "awq-uint4-64, torchao's own example; columns are scaled by what layers read on a text: needs "
    "--calibration TEXT";
constexpr std::string_view kMarlin =
    "sparse-marlin, as torchao's eval.py reads it; in f16, as its kernel has it. With 8-bit "
    "activations: marlin_qqq";
constexpr Preparation kScaled = {.awq = true};
constexpr std::string_view kAutoround =
    "learns rounding and clipping of each Linear, by ||(W - Q) X||^2, where AutoRound learns a "
    "block of layers at a time; needs --calibration TEXT. The fields: device, 1 for the head too, "
    "iterations (200), group size (128), then batch size, sequence length, samples, steps a "
    "gradient and compile, which have no effect here";
constexpr std::string_view kSpinquant =
    "R1 (residual stream) and R2 (values of each head) are folded into the weights, norms too; "
    "Hadamard with random signs, as torchao has it, nothing is learned. R4, which torchao adds "
    "before down, needs a kernel while the model runs and is left out. spinquant-NAME and "
    "NAME-spinquant quantize the rotated weights by another name; a tied head becomes a tensor of "
    "its own";
constexpr std::string_view kCodebook =
    "16 numbers for each tensor by k-means, each weight counting as its scale squared; torchao "
    "scales a group by its largest number, sign and all, and lets all weights count the same";
constexpr std::string_view kLut =
    "tables of numbers for groups of rows are no format here; codebook has one of 16 for a tensor";
constexpr std::string_view kFbgemm =
    "no version of the harness ever did anything for this name, its help only mentions it; "
    "int4wo-128 is what it would have been";
constexpr std::string_view kQqq =
    "in f16, as its kernel has it; activations: torchao computes their scale in f16 (within 0.05 % "
    "of this one), at least 1e-5";
constexpr std::string_view kCalibrated =
    "static activation scales come from calibration; Int8DynamicActivationInt8WeightConfig takes "
    "them from each token";

constexpr std::string_view kNvfp4Static =
    "static activation scales come from calibration; nvfp4+nvfp4 takes them from each token";
constexpr std::string_view kInt4dq =
    "says nothing of activations: int4dq-4 has those of 4 bits, int4dq-8 those of 8";
constexpr std::string_view kScaleOnly =
    "is how torchao's IntxWeightOnlyConfig chooses symmetric scales: least squares on the scale "
    "alone; here --quantizer mse on a symmetric format searches for the same, as --format "
    "int4-g32-sym --quantizer mse";
constexpr std::string_view kSinq =
    "scales rows and columns of a matrix before it is rounded, which no quantizer here does; "
    "without a text too: --quantizer hqq or mse";
constexpr std::string_view kSemiStructured =
    "is 2:4 and goes with codes: int8dq+semi-structured, float8dq+semi-structured, "
    "marlin+semi-structured; of our own formats, those that take -24, as int8-24";

constexpr MethodScope kNotHead = {.head = "bf16"};
constexpr MethodScope kFeedForward = {.include = "feed_forward"};

constexpr MethodRow kTorchaoExp[] = {
    {"default", "int8-sbf16", kAo9, "of gemlite_exp: gemlite_exp:default", kNotHead},
    {"bf16_int8", "int8-sbf16", kAo9,
     "of gemlite_exp, HQQ with a bf16 zero (2 dB worse): gemlite_exp:bf16_int8", kNotHead},
    {"bf16_int4", "int4-g128", kHqq,
     "HQQ, groups of 128; of gemlite_exp, groups of 64: gemlite_exp:bf16_int4", kNotHead},
    {"bf16_fp8", "fp8", kAo18, "", kNotHead},
    {"bf16_bf16", "bf16", "", kUnquantized, kNotHead},
    {"bf16_auto", "", "", kAutoquant},
};

constexpr MethodRow kGemliteExp[] = {
    {"default", "int8-rzero-sbf16", kHqq, "A16W8_HQQ_INT, one group a row", kNotHead},
    {"bf16_int8", "int8-rzero-sbf16", kHqq, "A16W8_HQQ_INT, one group a row", kNotHead},
    {"bf16_int4", "int4-rzero", kHqq, "A16W4_HQQ_INT, groups of 64", kNotHead},
    {"bf16_int1", "int1-rzero", kHqq,
     "A16W1_HQQ_INT: two free levels a group, 1.5 bits; worse than int1 by 5 dB", kNotHead},
    {"bf16_fp1.58", "ternary", "", kTernary, kNotHead},
    {"bf16_mxfp4", "mxfp4-rceil", kGemlite, "", kNotHead},
    {"bf16_mxfp8", "mxfp8", kGemlite, "", kNotHead},
    {"int8_fp1.58", "ternary+int8", "", kTernary, kNotHead},
    {"int8_int8", "int8+int8", kGemlite, kInt8ActGemlite, kNotHead},
    {"mxfp4_mxfp4", "mxfp4-rceil+mxfp4-rceil", kGemlite, kFp4ActGemlite, kNotHead},
    {"mxfp8_mxfp8", "mxfp8+fp8", kGemlite, kPostScale, kNotHead},
    {"nvfp4_nvfp4", "nvfp4+nvfp4", kGemlite, kNvfp4ActGemlite, kNotHead},
};

constexpr MethodRow kTorchao[] = {
    {"baseline", "bf16"},
    {"int8wo", "int8-sbf16", kAo9},
    {"int8dq", "int8-sbf16+int8", kAo9, kInt8ActAo9},
    {"int8dq_prefill_wo_decode", "int8-sbf16+int8", kAo9, kInt8ActAo9, {.prefill_only = true}},
    {"int8dq+semi-structured",
     "int8-sbf16-24+int8",
     kAo9,
     kInt8ActAo9,
     {.include = "feed_forward", .others = "int8-sbf16+int8"}},
    {"int4wo-{g}", "int4-{g}", kAo9},
    {"int4wo-{g}-hqq", "int4-{g}", kHqq, kHqqAo},
    {"int4wo-{g}-gptq", "int4-{g}", "gptq", "needs a calibration text"},
    {"int4wo-{g}-GPTQ", "int4-{g}", "gptq", "needs a calibration text"},
    {"int4wo-{g}-hqq-gptq", "int4-{g}", "gptq", "needs a calibration text; GPTQ decides, not HQQ"},
    {"int4dq-4", "int4-row-sym+int4-row-sym", kAo9,
     "activations: torchao takes amax / 7.5 in bf16, here amax / 8"},
    {"int4dq-8", "int4-row-sym+int8", kAo9, kInt8ActAo9},
    {"int4dq", "", "", kInt4dq},
    {"int8adq-int4w-symm", "int4-row-sym+int8", kAo9, kInt8ActAo9},
    {"sparse-marlin", "int4-g128-sym-sf16-24", kAo9, "in f16, as its kernel has it"},
    {"marlin+semi-structured",
     "int4-g128-sym-sf16-24",
     kAo9,
     "in f16, as its kernel has it",
     {.include = "feed_forward,attention"}},
    {"marlin_qqq", "qqq+int8", kAo9, kQqq},
    {"marlin_qqq-row", "qqq-row+int8", kAo9, kQqq},
    {"marlin", "int4-g128-sym-sf16-24", kAo9, kMarlin},
    {"fp6", "fp6-sbf16", kAo9, "the scale is rounded to the weights' type; f16: fp6-sf16"},
    {"embed-int8wo",
     "bf16",
     kAo9,
     "only the token table is quantized, Linears stay bf16",
     {.head = "stored", .embedding = "int8-g64-sbf16"}},
    {"uintx-8-{g}", "int8-{g}-asym-sbf16", kAo9},
    {"uintx-{n}-{g}", "int{n}-{g}-asym", kAo9},
    {"uintx-{n}-{g}-hqq", "int{n}-{g}-fzero-sbf16", kHqq, kHqqAo},
    {"float8wo", "fp8-sbf16", kAo9, "all in bf16, as it does"},
    {"float8dq", "fp8-tensor+fp8-tensor", kAo9, kFp8ActAo9},
    {"float8dq-tensor", "fp8-tensor+fp8-tensor", kAo9, kFp8ActAo9},
    {"float8dq-row", "fp8+fp8", kAo9, kFp8ActAo9},
    {"float8dq+semi-structured", "fp8-24+fp8-e5m2", kAo9, kFp8ActAo9, kFeedForward},
    {"float8_a1x128_w128x128", "fp8-b128x128+fp8-g128", kAo18},
    {"int8_dynamic_activation_intx_weight-{n}-{g}-false", "int{n}-{g}-sym-sf32+int8", kAo9,
     kInt8ActAsym},
    {"int8_dynamic_activation_intx_weight-{n}-{g}-true", "int{n}-{g}-asym-sf32+int8", kAo9,
     kInt8ActAsym},
    {"gemlite-8-None-wo", "int8-sf16", kAo9},
    {"gemlite-8-None-dq", "int8-sf16+int8", kAo9, kInt8ActGemlite},
    {"gemlite-4-{g}-wo", "int4-{g}-rzero-sf16", kHqq, kHqqAo},
    {"gemlite-4-{g}-dq", "int4-{g}-rzero-sf16+fp8", kHqq, kFp8ActGemlite},
    {"gemlite-{p}-4-{g}", "int4-{g}-rzero-sf16", kHqq,
     "the older spelling; how many bits a word packs changes no number"},
    {"gemlite-{p}-8-{g}", "int8-sf16", kAo9,
     "the older spelling; how many bits a word packs changes no number"},
    {"gemlite-8-{g}-{*}", "", "",
     "gemlite's 8 bits have one scale a row: gemlite-8-None-wo or -dq"},
    {"gemlite-{n}-{g}-{*}", "", "", kGemliteBits},
    {"gemlite-{p}-{n}-{*}", "", "", kGemliteBits},
    {"gemlitewo-4-{g}", "int4-{g}-rzero-sf16", kHqq, kHqqAo},
    {"gemlitewo-8-None", "int8-sf16", kAo9},
    {"gemlitewo-{n}-{*}", "", "", kGemliteBits},
    {"tensorwise", "fp8-tensor+fp8-tensor", kAo18, kFp8Act},
    {"rowwise", "fp8+fp8", kAo18, kFp8Act},
    {"mxfp8_cublas", "mxfp8-floor+mxfp8-floor", kAo18},
    {"mxfp8_cublas_rceil", "mxfp8+mxfp8", kAo18},
    {"mxfp8_cutlass", "mxfp8-floor+mxfp8-floor", kAo18},
    {"mxfp8_emulated", "mxfp8-floor+mxfp8-floor", kAo18},
    {"mxfp4_cutlass", "mxfp4+mxfp4", kAo18},
    {"mxfp4_emulated", "mxfp4+mxfp4", kAo18},
    {"nvfp4_cutlass", "nvfp4+nvfp4", kAo18, kNvfp4Recipe},
    {"nvfp4_emulated", "nvfp4+nvfp4", kAo18, kNvfp4Recipe},
    {"nvfp4_static", "", "", kNvfp4Static},
    {"autoquant{*}", "", "", kAutoquant},
    {"awq-uint4-{g}", "int4-{g}", kAo9, kAwq, {}, kScaled},
    {"awq-uint8-{g}", "int8-{g}-asym-sbf16", kAo9, kAwq, {}, kScaled},
    {"awq-uint{n}-{g}", "int{n}-{g}-asym", kAo9, kAwq, {}, kScaled},
    {"awq-uint{n}-{g}-hqq", "int{n}-{g}-fzero-sbf16", kHqq, kAwq, {}, kScaled},
    {"awq-int{n}-{g}", "int{n}-{g}-sym", "", kAwq, {}, kScaled},
    {"awq", "int4", kAo9, kAwqAlone, {}, kScaled},
    {"awq{*}", "", "", kAwqNames},
    {"autoround{*}", "int4-g128", "autoround", kAutoround, kNotHead},
    {"spinquant", "bf16", "", kSpinquant, {}, {.rotate = true}},
    {"codebook", "codebook", "", kCodebook},
    {"semi{*}", "", "", kSemiStructured},
    {"2:4", "", "", kSemiStructured},
    {"block", "", "",
     "says neither how many blocks are zero nor how large they are: bsr-0.9-64, or with a format "
     "int8wo+bsr-0.9-64"},
    {"fbgemm-int4{*}", "", "", kFbgemm},
    {"hqq_scale_only", "", "", kScaleOnly},
    {"sinq", "", "", kSinq},
    {"SINQ", "", "", kSinq},
};

constexpr MethodRow kTorchaoConfigs[] = {
    {"Int8WeightOnlyConfig", "int8", kAo18},
    {"Int8WeightOnlyConfig-tensor", "int8-tensor", kAo18},
    {"Int8WeightOnlyConfig-{g}", "int8-{g}", kAo18},
    {"Int8WeightOnly", "int8", kAo18},
    {"Int8DynamicActivationInt8WeightConfig", "int8+int8", kAo18, kInt8ActAo18},
    {"Int8DynamicActivationInt8WeightConfig-tensor", "int8-tensor+int8-tensor", kAo18,
     kInt8ActAo18},
    {"Int8StaticActivationInt8WeightConfig", "", "", kCalibrated},
    {"Int4WeightOnlyConfig", "int4-g128", kAo18},
    {"Int4WeightOnlyConfig-{g}", "int4-{g}", kAo18},
    {"Int4WeightOnlyConfig-{g}-hqq", "int4-{g}", kHqq, kHqqAo},
    {"Int4WeightOnly", "int4-g128", kAo18},
    {"Float8WeightOnlyConfig", "fp8", kAo18},
    {"Float8WeightOnlyConfig-tensor", "fp8-tensor", kAo18},
    {"Float8WeightOnlyConfig-{g}", "fp8-{g}", kAo18},
    {"Float8WeightOnly", "fp8", kAo18},
    {"Float8DynamicActivationFloat8WeightConfig", "fp8-tensor+fp8-tensor", kAo18,
     "its default is one scale a tensor; -row: one a row"},
    {"Float8DynamicActivationFloat8WeightConfig-row", "fp8+fp8", kAo18, kFp8Act},
    {"Float8DynamicActivationFloat8WeightConfig-tensor", "fp8-tensor+fp8-tensor", kAo18, kFp8Act},
    {"Float8StaticActivationFloat8WeightConfig", "", "",
     "static activation scales come from calibration; Float8DynamicActivationFloat8WeightConfig "
     "takes them from each token"},
    {"Float8DynamicActivationInt4WeightConfig", "int4-g128-sym+fp8", "",
     "torchao's kernel library packs e4m3 scales under one per row, here they are bf16"},
    {"IntxWeightOnlyConfig", "int8-sbf16", kAo18, kIntx},
    {"IntxWeightOnlyConfig-int{n}-{g}", "int{n}-{g}-sym-sbf16", kAo18, kIntx},
    {"Int8DynamicActivationIntxWeightConfig", "int8-g32-sbf16+int8", kAo18, kInt8ActAsym},
    {"Int8DynamicActivationIntxWeightConfig-int{n}-{g}", "int{n}-{g}-sym-sbf16+int8", kAo18,
     kInt8ActAsym},
    {"Int8DynamicActivationInt4WeightConfig", "int4-g32-sym+int8", kAo18, kInt8ActAsym},
    {"UIntxWeightOnlyConfig", "int4-rzero-sf16", kHqq, "gemlite's 4 bits, groups of 64"},
    {"Int8DynamicActivationUIntxWeightConfig", "int4-rzero-sf16+int8", kHqq, kInt8ActGemlite},
    {"MXDynamicActivationMXWeightConfig", "mxfp8+mxfp8", kAo18,
     "e4m3, RCEIL; its float logarithm is one step too small just above a power of two"},
    {"MXDynamicActivationMXWeightConfig-mxfp4", "mxfp4-rceil+mxfp4-rceil", kAo18},
    {"NVFP4DynamicActivationNVFP4WeightConfig", "nvfp4+nvfp4", kAo18, kNvfp4ActAo},
    {"NVFP4WeightOnlyConfig", "nvfp4", kAo18},
    {"NVFP4WeightOnly", "nvfp4", kAo18},
    {"FPXWeightOnlyConfig", "fp6-sbf16", kAo9, "(3, 2); it left torchao after 0.9.0"},
    {"UIntXWeightOnlyConfig-int{n}-{g}", "int{n}-{g}-asym-sbf16", kAo9,
     "it left torchao after 0.9.0"},
    {"UIntXWeightOnlyConfig", "", "",
     "its type and group size are arguments there: UIntXWeightOnlyConfig-int4-64"},
    {"AWQConfig",
     "int4-g128",
     kAo18,
     "its base is an argument there, this is Int4WeightOnlyConfig; needs --calibration TEXT",
     {},
     kScaled},
    {"CodebookWeightOnlyConfig", "codebook", "", kCodebook},
    {"GroupwiseLutWeightConfig", "", "", kLut},
};

constexpr std::string_view kNvfp4Of06 =
    "of gemlite 0.6, whose outer scale is of the tensor; round to nearest here";
constexpr std::string_view kBlockQuant = "of gemlite 0.6: blocks of 128 x 128, activations of 128";

constexpr MethodRow kGemliteHelpers[] = {
    {"A16W8", "int8-sbf16", kGemlite},
    {"A16W8_INT8", "int8-sbf16", kGemlite},
    {"A16W8_FP8", "fp8-sbf16", kGemlite},
    {"A16W8_HQQ_INT", "int8-rzero-sbf16", kHqq, "one group a row"},
    {"A16W4_HQQ_INT", "int4-rzero", kHqq},
    {"A16W2_HQQ_INT", "int2-rzero", kHqq},
    {"A16W1_HQQ_INT", "int1-rzero", kHqq, "two free levels a group, 1.5 bits"},
    {"A16Wn_HQQ_INT", "", "", "its number of bits is an argument there: A16W4_HQQ_INT"},
    {"A16W8_MXFP", "mxfp8", kGemlite},
    {"A16W4_MXFP", "mxfp4-rceil", kGemlite},
    {"A16Wn_MXFP", "", "", "its number of bits is an argument there: A16W4_MXFP, A16W8_MXFP"},
    {"A16W4_NVFP", "nvfp4", "", kNvfp4Of06},
    {"A8W8_dynamic", "int8+int8", kGemlite, kInt8ActGemlite},
    {"A8W8_INT8_dynamic", "int8+int8", kGemlite, kInt8ActGemlite},
    {"A8W8_int8_dynamic", "int8+int8", kGemlite, kInt8ActGemlite},
    {"A8W8_FP8_dynamic", "fp8+fp8", kGemlite, kFp8ActGemlite},
    {"A8W8_fp8_dynamic", "fp8+fp8", kGemlite, kFp8ActGemlite},
    {"A8W8_FP8_dynamic(block_quant=True)", "fp8-b128x128+fp8-g128", "", kBlockQuant},
    {"A8W8_INT8_dynamic(block_quant=True)", "", "",
     "int8 has no blocks of rows here; int8-g128+int8-g128 is finer"},
    {"A8W4_HQQ_INT_dynamic", "int4-rzero+fp8", kHqq, "activations are fp8 per token, not int8"},
    {"A8W2_HQQ_INT_dynamic", "int2-rzero+fp8", kHqq, "activations are fp8 per token, not int8"},
    {"A8Wn_HQQ_INT_dynamic", "", "",
     "its number of bits is an argument there: A8W4_HQQ_INT_dynamic, A8W2_HQQ_INT_dynamic"},
    {"A8W8_MXFP_dynamic", "mxfp8+fp8", kGemlite, kPostScale},
    {"A8W8_MXFP_dynamic(post_scale=False)", "mxfp8+mxfp8", kGemlite},
    {"A8W4_MXFP_dynamic", "mxfp4-rceil+fp8", kGemlite, kPostScale},
    {"A8W4_MXFP_dynamic(post_scale=False)", "mxfp4-rceil+mxfp8", kGemlite},
    {"A8Wn_MXFP_dynamic", "", "",
     "its number of bits is an argument there: A8W8_MXFP_dynamic, A8W4_MXFP_dynamic"},
    {"A4W4_MXFP_dynamic", "mxfp4-rceil+mxfp4-rceil", kGemlite, kFp4ActGemlite},
    {"A4W4_NVFP_dynamic", "nvfp4+nvfp4", kGemlite, kNvfp4ActGemlite},
    {"A16W158_INT", "ternary", "", kTernary},
    {"A8W158_INT_dynamic", "ternary+int8", "", kTernary},
};

constexpr std::string_view kTypeOfM =
    "all tensors in this one type; llama-quantize means a mixture by this name, that of _M: "
    "Q3_K_M, Q4_K_M, Q5_K_M";
constexpr std::string_view kTypeOfQ2 =
    "all tensors in this one type; llama-quantize means a mixture by this name, with more bits "
    "than Q2_K_S, which is the one that is here";
constexpr std::string_view kMixture =
    "llama-quantize's rules for which tensors get more bits; scales without its search, so a .gguf "
    "that it made loses less";
constexpr MethodScope mixture(std::string_view name) {
  return {.embedding = "same", .mixture = name};
}
// The IQ types take 4 or 8 weights at a time from a table of llama.cpp's.
constexpr std::string_view kIq1 =
    "takes eight weights at a time from a table of llama.cpp's, which is no format here; TQ1_0 is "
    "as small (1.7 bits), Q2_K_S loses far less";
constexpr std::string_view kIq2 =
    "takes eight weights at a time from a table of llama.cpp's, which is no format here; use "
    "Q2_K_S, or int2-g32 by gptq-mse, which looks at inputs as an imatrix does";
constexpr std::string_view kIq3 =
    "takes four weights at a time from a table of llama.cpp's, which is no format here; use "
    "Q3_K_S, or int3-g64 by gptq-mse, which looks at inputs as an imatrix does";
constexpr std::string_view kIq4 =
    "has a table of 16 numbers that is llama.cpp's own and no format here; codebook learns its 16 "
    "from the weights, in 4.25 bits; or use Q4_K_S";
constexpr std::string_view kReordered =
    "is Q4_0 in the order of one processor, which llama.cpp makes itself since; use Q4_0";
constexpr std::string_view kInternal =
    "is what llama.cpp makes of activations, no model is stored in it; use Q8_0";

constexpr MethodRow kLlamaCpp[] = {
    {"F32", "f32"},
    {"F16", "f16"},
    {"BF16", "bf16"},
    {"Q8_0", "q8_0", kGguf},
    {"Q5_1", "q5_1", kGguf},
    {"Q5_0", "q5_0", kGguf},
    {"Q4_1", "q4_1", kGguf},
    {"Q4_0", "q4_0", kGguf},
    {"TQ2_0", "tq2_0", kGguf},
    {"TQ1_0", "tq1_0", kGguf},
    {"Q2_K_S", "q2_k", "", kMixture, mixture("Q2_K_S")},
    {"Q3_K_S", "q3_k", "", kMixture, mixture("Q3_K_S")},
    {"Q3_K_M", "q3_k", "", kMixture, mixture("Q3_K_M")},
    {"Q3_K_L", "q3_k", "", kMixture, mixture("Q3_K_L")},
    {"Q4_K_S", "q4_k", "", kMixture, mixture("Q4_K_S")},
    {"Q4_K_M", "q4_k", "", kMixture, mixture("Q4_K_M")},
    {"Q5_K_S", "q5_k", "", kMixture, mixture("Q5_K_S")},
    {"Q5_K_M", "q5_k", "", kMixture, mixture("Q5_K_M")},
    {"Q2_K", "q2_k", "", kTypeOfQ2},
    {"Q3_K", "q3_k", "", kTypeOfM},
    {"Q4_K", "q4_k", "", kTypeOfM},
    {"Q5_K", "q5_k", "", kTypeOfM},
    {"MXFP4_MOE", "mxfp4", "", "its other tensors are Q8_0 there"},
    {"IQ1_{*}", "", "", kIq1},
    {"IQ2_{*}", "", "", kIq2},
    {"IQ3_{*}", "", "", kIq3},
    {"IQ4_{*}", "", "", kIq4},
    {"Q4_0_4_{n}", "", "", kReordered},
    {"Q4_0_8_{n}", "", "", kReordered},
    {"Q8_1", "", "", kInternal},
    {"Q8_K", "", "", kInternal},
    {"COPY", "", "", "without a format a model runs as it is stored"},
};

constexpr MethodGroup kGroups[] = {
    {"torchao_exp", "low-bit-inference, torchao_exp", kTorchaoExp},
    {"gemlite_exp", "low-bit-inference, gemlite_exp", kGemliteExp},
    {"torchao", "torchao 0.9.0, Llama harness and microbenchmarks", kTorchao},
    {"torchao_config", "torchao 0.18.0, config classes", kTorchaoConfigs},
    {"gemlite", "gemlite 0.5.1, helpers", kGemliteHelpers},
    {"llama.cpp", "llama.cpp", kLlamaCpp, true},
};

}  // namespace

std::span<const MethodGroup> method_groups() { return kGroups; }

}  // namespace lowbit
