// THE table of metrics. A metric is a row of data: its formula stands in `help`, printers look at
// `hint` and never at the tag. To add one: a row here and the code that measures it.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace lowbit {

// What kind of number it is; values are in the unit named here.
enum class Hint : uint8_t {
  kDuration,    // seconds
  kRate,        // per second
  kBytes,       // bytes
  kBandwidth,   // bytes per second
  kFlops,       // operations, two per multiply-add
  kFlopRate,    // operations per second
  kEnergy,      // joules
  kPower,       // watts
  kPercentage,  // fraction of one
  kCount,       // a whole number
  kNumber,      // anything else, such as a perplexity or bits
  kNats,        // nats per token
};

// What it is about: parts of reports.
enum class About : uint8_t { kSpeed, kMemory, kCeiling, kEnergy, kQuality };

// Counted numbers differ or do not; measured ones differ beyond their noise.
enum class From : uint8_t { kCount, kMeasurement };

enum class Better : uint8_t { kHigher, kLower, kNeither };

struct Metric {
  std::string_view tag;    // its key in records
  std::string_view title;  // column header
  std::string_view unit;   // of the stored value
  std::string_view help;   // definition, with the formula and its denominator
  About about;
  From from;
  Hint hint;
  Better better;
  bool shown;  // a column of the default table
};

// P = prompt_tokens, N = new_tokens: the prompt yields the first token, N - 1 decode steps the
// rest. B = batch: so many sequences do it together.
inline constexpr Metric kMetrics[] = {
    {"prefill_tps", "prefill", "tokens/s",
     "B * P / time of the forward passes over the prompt, logits of its last token included",
     About::kSpeed, From::kMeasurement, Hint::kRate, Better::kHigher, true},
    {"decode_tps", "decode", "tokens/s",
     "B * (N - 1) / time of the N - 1 decode steps; a step feeds one token of each of the B "
     "sequences "
     "and draws the next",
     About::kSpeed, From::kMeasurement, Hint::kRate, Better::kHigher, true},
    {"tps", "overall", "tokens/s", "B * N / (ttft + time of the decode steps)", About::kSpeed,
     From::kMeasurement, Hint::kRate, Better::kHigher, true},
    {"ttft", "ttft", "s",
     "time to first token: from the prompt's ids to the first drawn token's id on the host",
     About::kSpeed, From::kMeasurement, Hint::kDuration, Better::kLower, true},
    {"tpot", "tpot", "s",
     "time per output token: time of the decode steps / (N - 1); the first token is ttft's",
     About::kSpeed, From::kMeasurement, Hint::kDuration, Better::kLower, true},
    {"latency", "latency", "s", "ttft + time of the decode steps: the whole generation",
     About::kSpeed, From::kMeasurement, Hint::kDuration, Better::kLower, false},
    {"token_p50", "token p50", "s",
     "time within which 50 % of the N - 1 decode steps of a run end; a step's time is from its "
     "token's id to the next one's on the host",
     About::kSpeed, From::kMeasurement, Hint::kDuration, Better::kLower, false},
    {"token_p90", "token p90", "s", "time within which 90 % of the N - 1 decode steps of a run end",
     About::kSpeed, From::kMeasurement, Hint::kDuration, Better::kLower, false},
    {"token_p99", "token p99", "s",
     "time within which 99 % of the N - 1 decode steps of a run end; with fewer than 100 steps "
     "next "
     "to the slowest one",
     About::kSpeed, From::kMeasurement, Hint::kDuration, Better::kLower, false},
    {"load_time", "load", "s",
     "time from opening the model's files to weights that are ready to run: reading + quantizing + "
     "packing; profile_compile=True says how much of it each takes",
     About::kSpeed, From::kMeasurement, Hint::kDuration, Better::kLower, false},
    {"model_bytes", "weights", "bytes",
     "sum over all weights as resident on the device: codes + scales + zeros of Linears and "
     "embedding, norms; a matrix that serves as both embedding and head counts once",
     About::kMemory, From::kCount, Hint::kBytes, Better::kLower, true},
    {"kv_bytes", "kv", "bytes",
     "KV cache and other state allocated for B sequences of P + N tokens (or cache_size), in pages "
     "of 64: kv_bytes_per_token * tokens of those pages",
     About::kMemory, From::kCount, Hint::kBytes, Better::kLower, false},
    {"kv_bytes_per_token", "kv/token", "bytes",
     "KV cache that one more token of context adds: 2 * layers * KV heads * bytes of a row of head "
     "width, scales included",
     About::kMemory, From::kCount, Hint::kBytes, Better::kLower, false},
    {"peak_memory", "peak", "bytes",
     "largest resident memory of the process while the case loaded and ran (VmHWM, reset before "
     "each case; absent where the kernel does not allow the reset)",
     About::kMemory, From::kMeasurement, Hint::kBytes, Better::kLower, true},
    {"peak_device_memory", "GPU peak", "bytes",
     "most memory that buffers took on the GPU at once while the case loaded and ran; the driver's "
     "own, some hundred MB, is not in it",
     About::kMemory, From::kMeasurement, Hint::kBytes, Better::kLower, true},
    {"bits_per_weight", "bits/weight", "bits",
     "8 * bytes of all Linears as resident / their weights, scales and zeros included",
     About::kMemory, From::kCount, Hint::kNumber, Better::kLower, false},
    {"stored_bits", "stored bits/weight", "bits",
     "8 * bytes of all Linears as their format stores them / their weights, scales included",
     About::kMemory, From::kCount, Hint::kNumber, Better::kLower, false},
    {"bytes_per_token", "per token", "bytes",
     "what one decode step must read / B: every weight of a step once + B * state bytes per token "
     "* the mean context, P + N / 2",
     About::kMemory, From::kCount, Hint::kBytes, Better::kLower, true},
    {"prefill_bytes", "prefill reads", "bytes",
     "what the prompt's steps must read: every weight once a step, the head once, state of the "
     "positions so far",
     About::kMemory, From::kCount, Hint::kBytes, Better::kLower, false},
    {"flops_per_token", "work/token", "FLOP",
     "2 * weights of all Linears + 4 * heads * head width * layers * mean context, P + N / 2",
     About::kSpeed, From::kCount, Hint::kFlops, Better::kNeither, false},
    {"prefill_flops", "prefill work", "FLOP",
     "2 * weights of all Linears * P, the head's for the last token alone + 4 * heads * head width "
     "* "
     "layers * positions that the P tokens attend to",
     About::kSpeed, From::kCount, Hint::kFlops, Better::kNeither, false},
    {"flop_rate", "decode rate", "FLOP/s", "B * flops_per_token / tpot", About::kCeiling,
     From::kMeasurement, Hint::kFlopRate, Better::kHigher, false},
    {"flop_ceiling", "decode FLOP ceiling", "FLOP/s",
     "flops_per_token / the time that its multiply-adds take at float_ceiling and, where the "
     "kernel multiplies integers or 8-bit floats, at integer_ceiling or float8_ceiling",
     About::kCeiling, From::kMeasurement, Hint::kFlopRate, Better::kHigher, false},
    {"flop_fraction", "of FLOP ceiling", "fraction", "flop_rate / flop_ceiling", About::kCeiling,
     From::kMeasurement, Hint::kPercentage, Better::kHigher, false},
    {"prefill_flop_rate", "prefill rate", "FLOP/s",
     "prefill_flops / time of the forward passes over the prompt", About::kCeiling,
     From::kMeasurement, Hint::kFlopRate, Better::kHigher, false},
    {"prefill_flop_ceiling", "prefill FLOP ceiling", "FLOP/s",
     "prefill_flops / the time that its multiply-adds take at float_ceiling and, where the kernel "
     "multiplies integers, at integer_ceiling",
     About::kCeiling, From::kMeasurement, Hint::kFlopRate, Better::kHigher, false},
    {"prefill_flop_fraction", "prefill of ceiling", "fraction",
     "prefill_flop_rate / prefill_flop_ceiling", About::kCeiling, From::kMeasurement,
     Hint::kPercentage, Better::kHigher, false},
    {"energy_per_token", "energy/token", "J",
     "energy of the device from the start of a run to its end / (B * N), the prompt's share "
     "included; RAPL packages and memory on CPUs, NVML on GPUs",
     About::kEnergy, From::kMeasurement, Hint::kEnergy, Better::kLower, false},
    {"power", "power", "W", "energy of the device during a run / its time", About::kEnergy,
     From::kMeasurement, Hint::kPower, Better::kLower, false},
    {"device_clock", "clock", "MHz", "median clock of the GPU while the case was timed",
     About::kEnergy, From::kMeasurement, Hint::kNumber, Better::kNeither, false},
    {"device_temperature", "temperature", "deg C",
     "highest temperature of the GPU while the case was timed", About::kEnergy, From::kMeasurement,
     Hint::kNumber, Better::kLower, false},
    {"bandwidth", "read", "bytes/s", "B * bytes_per_token / tpot", About::kCeiling,
     From::kMeasurement, Hint::kBandwidth, Better::kHigher, false},
    {"ceiling", "ceiling", "bytes/s",
     "read bandwidth of this machine, all threads, of the cache or memory that holds "
     "bytes_per_token: as `lowbit roofline` stored it, or over a buffer of that size if it is "
     "higher; the best of several passes",
     About::kCeiling, From::kMeasurement, Hint::kBandwidth, Better::kHigher, false},
    {"ceiling_fraction", "of ceiling", "fraction", "bandwidth / ceiling", About::kCeiling,
     From::kMeasurement, Hint::kPercentage, Better::kHigher, true},
    {"prefill_bandwidth", "prefill read", "bytes/s",
     "prefill_bytes / time of the forward passes over the prompt", About::kCeiling,
     From::kMeasurement, Hint::kBandwidth, Better::kHigher, false},
    {"prefill_ceiling", "prefill ceiling", "bytes/s",
     "read bandwidth of this machine, all threads, of the cache or memory that holds what a step "
     "of the prompt reads: as `lowbit roofline` stored it, or over a buffer of that size or of "
     "bytes_per_token if it is higher",
     About::kCeiling, From::kMeasurement, Hint::kBandwidth, Better::kHigher, false},
    {"prefill_ceiling_fraction", "prefill read of ceiling", "fraction",
     "prefill_bandwidth / prefill_ceiling", About::kCeiling, From::kMeasurement, Hint::kPercentage,
     Better::kHigher, false},
    {"read_l1", "L1", "bytes/s", "machine: read bandwidth of the L1 caches, all threads",
     About::kCeiling, From::kMeasurement, Hint::kBandwidth, Better::kHigher, false},
    {"read_l2", "L2", "bytes/s", "machine: read bandwidth of the L2 caches, all threads",
     About::kCeiling, From::kMeasurement, Hint::kBandwidth, Better::kHigher, false},
    {"read_l3", "L3", "bytes/s", "machine: read bandwidth of the L3 caches, all threads",
     About::kCeiling, From::kMeasurement, Hint::kBandwidth, Better::kHigher, false},
    {"read_memory", "memory", "bytes/s", "machine: read bandwidth of the memory, all threads",
     About::kCeiling, From::kMeasurement, Hint::kBandwidth, Better::kHigher, false},
    {"float_ceiling", "f32", "FLOP/s",
     "machine: 2 * float multiply-adds from registers / time, all threads, widest vectors; of a "
     "GPU bf16 in tensor cores",
     About::kCeiling, From::kMeasurement, Hint::kFlopRate, Better::kHigher, false},
    {"integer_ceiling", "int8", "OP/s",
     "machine: 2 * 8-bit integer multiply-adds from registers / time, all threads; of a GPU in "
     "tensor cores",
     About::kCeiling, From::kMeasurement, Hint::kFlopRate, Better::kHigher, false},
    {"float8_ceiling", "fp8", "FLOP/s",
     "machine: 2 * 8-bit float multiply-adds in the GPU's tensor cores / time", About::kCeiling,
     From::kMeasurement, Hint::kFlopRate, Better::kHigher, false},
    {"linear_time", "one call", "s",
     "one call of a Linear, rounding of its input included, weights from memory: copies larger "
     "than "
     "the last cache in turn; the input is in a cache",
     About::kSpeed, From::kMeasurement, Hint::kDuration, Better::kLower, true},
    {"linear_time_warm", "warm", "s",
     "one call of a Linear with the same weights again and again, as torchao's microbenchmarks "
     "time "
     "it: small weights come from a cache",
     About::kSpeed, From::kMeasurement, Hint::kDuration, Better::kLower, true},
    {"linear_baseline", "baseline", "s", "linear_time of the weights that are not quantized",
     About::kSpeed, From::kMeasurement, Hint::kDuration, Better::kLower, false},
    {"linear_baseline_warm", "baseline warm", "s",
     "linear_time_warm of the weights that are not quantized", About::kSpeed, From::kMeasurement,
     Hint::kDuration, Better::kLower, false},
    {"linear_speedup", "speedup", "ratio", "linear_baseline / linear_time", About::kSpeed,
     From::kMeasurement, Hint::kNumber, Better::kHigher, true},
    {"linear_speedup_warm", "speedup warm", "ratio", "linear_baseline_warm / linear_time_warm",
     About::kSpeed, From::kMeasurement, Hint::kNumber, Better::kHigher, false},
    {"linear_memory", "memory", "bytes",
     "weights, input, output and workspace of a Linear as they are allocated, without the copies "
     "that linear_time reads in turn",
     About::kMemory, From::kCount, Hint::kBytes, Better::kLower, false},
    {"linear_bandwidth", "weights read", "bytes/s", "bytes of the weights / linear_time",
     About::kCeiling, From::kMeasurement, Hint::kBandwidth, Better::kHigher, true},
    {"linear_flop_rate", "work", "FLOP/s", "2 m k n / linear_time", About::kCeiling,
     From::kMeasurement, Hint::kFlopRate, Better::kHigher, true},
    {"linear_of_roof", "of roof", "fraction",
     "the least time that a call can take here / linear_time: its weights at read_memory, or its "
     "2 m k n operations at float_ceiling or integer_ceiling, whichever takes longer",
     About::kCeiling, From::kMeasurement, Hint::kPercentage, Better::kHigher, true},
    {"perplexity", "perplexity", "",
     "exp(mean -ln p(token)) over the scored tokens of the text that the record names: as if so "
     "many tokens were equally likely",
     About::kQuality, From::kMeasurement, Hint::kNumber, Better::kLower, true},
    {"kl_mean", "KL", "nats/token",
     "mean over the scored tokens of KL(as stored || this format) of the next-token distributions",
     About::kQuality, From::kMeasurement, Hint::kNats, Better::kLower, true},
    {"kl_p99", "KL p99", "nats/token",
     "99th percentile over the scored tokens of KL(as stored || this format)", About::kQuality,
     From::kMeasurement, Hint::kNats, Better::kLower, false},
    {"kl_max", "KL max", "nats/token",
     "largest over the scored tokens of KL(as stored || this format)", About::kQuality,
     From::kMeasurement, Hint::kNats, Better::kLower, false},
    {"top1_agreement", "top-1", "fraction",
     "scored tokens where this format and the stored weights rank the same token first / all",
     About::kQuality, From::kMeasurement, Hint::kPercentage, Better::kHigher, true},
};

const Metric& find_metric(std::string_view tag);  // an unknown tag is our own error

// tag, unit and formula of every metric, one per line, for --help.
std::string metrics_help();

}  // namespace lowbit
