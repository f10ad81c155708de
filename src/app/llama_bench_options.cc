#include "app/llama_bench_options.h"

#include <algorithm>
#include <map>
#include <utility>

#include "base/check.h"
#include "base/text.h"

namespace lowbit {
namespace {

enum class Kind : uint8_t { kValue, kNoEffect, kSwitch, kNoEffectSwitch, kRefused };

struct Flag {
  std::string_view name, canonical;
  Kind kind = Kind::kNoEffect;
  std::string_view why = "";
};

constexpr std::string_view kOneGpu = "the whole model is on one device";

constexpr Flag kFlags[] = {
    {"-m", "-m", Kind::kValue},
    {"-p", "-p", Kind::kValue},
    {"--n-prompt", "-p", Kind::kValue},
    {"-n", "-n", Kind::kValue},
    {"--n-gen", "-n", Kind::kValue},
    {"-pg", "-pg", Kind::kValue},
    {"-gp", "-gp", Kind::kValue},
    {"-d", "-d", Kind::kValue},
    {"--n-depth", "-d", Kind::kValue},
    {"-r", "-r", Kind::kValue},
    {"--repetitions", "-r", Kind::kValue},
    {"-t", "-t", Kind::kValue},
    {"-ctk", "-ctk", Kind::kValue},
    {"--cache-type-k", "-ctk", Kind::kValue},
    {"-ctv", "-ctv", Kind::kValue},
    {"--cache-type-v", "-ctv", Kind::kValue},
    {"-dev", "-dev", Kind::kValue},
    {"-oe", "-oe", Kind::kValue},
    {"--output-err", "-oe", Kind::kValue},
    {"--no-warmup", "--no-warmup", Kind::kSwitch},
    {"-hf", "-hf", Kind::kRefused, "lowbit downloads no models; fetch it and pass the file as -m"},
    {"-hff", "-hff", Kind::kRefused, "lowbit downloads no models; pass the file as -m"},
    {"-hft", "-hft", Kind::kRefused, "lowbit downloads no models; pass the file as -m"},
    {"-hfr", "-hf", Kind::kRefused, "lowbit downloads no models; fetch it and pass the file as -m"},
    {"--hf-repo", "-hf", Kind::kRefused,
     "lowbit downloads no models; fetch it and pass the file as -m"},
    {"--hf-file", "-hff", Kind::kRefused, "lowbit downloads no models; pass the file as -m"},
    {"--hf-token", "-hft", Kind::kRefused, "lowbit downloads no models; pass the file as -m"},
    {"-tgb", "-tgb", Kind::kRefused, "prompt and decode run with the same threads: -t"},
    {"-rpc", "-rpc", Kind::kRefused, "a model runs in one process here"},
    {"--rpc", "-rpc", Kind::kRefused, "a model runs in one process here"},
    {"-embd", "-embd", Kind::kRefused, "embedding models are not supported"},
    {"--embeddings", "-embd", Kind::kRefused, "embedding models are not supported"},
    {"-b", "-b", Kind::kNoEffect, "a step takes 512 tokens at most"},
    {"--batch-size", "-b", Kind::kNoEffect, "a step takes 512 tokens at most"},
    {"-ub", "-ub", Kind::kNoEffect, "a step takes 512 tokens at most"},
    {"--ubatch-size", "-ub", Kind::kNoEffect, "a step takes 512 tokens at most"},
    {"-ngl", "-ngl", Kind::kNoEffect, kOneGpu},
    {"--n-gpu-layers", "-ngl", Kind::kNoEffect, kOneGpu},
    {"-ncmoe", "-ncmoe", Kind::kNoEffect, kOneGpu},
    {"--n-cpu-moe", "-ncmoe", Kind::kNoEffect, kOneGpu},
    {"-sm", "-sm", Kind::kNoEffect, kOneGpu},
    {"--split-mode", "-sm", Kind::kNoEffect, kOneGpu},
    {"-mg", "-mg", Kind::kNoEffect, kOneGpu},
    {"--main-gpu", "-mg", Kind::kNoEffect, kOneGpu},
    {"-ts", "-ts", Kind::kNoEffect, kOneGpu},
    {"--tensor-split", "-ts", Kind::kNoEffect, kOneGpu},
    {"-ot", "-ot", Kind::kNoEffect, kOneGpu},
    {"--override-tensor", "-ot", Kind::kNoEffect, kOneGpu},
    {"-nkvo", "-nkvo", Kind::kNoEffect, kOneGpu},
    {"--no-kv-offload", "-nkvo", Kind::kNoEffect, kOneGpu},
    {"-nopo", "-nopo", Kind::kNoEffect, kOneGpu},
    {"--no-op-offload", "-nopo", Kind::kNoEffect, kOneGpu},
    {"-fitt", "-fitt", Kind::kNoEffect, kOneGpu},
    {"--fit-target", "-fitt", Kind::kNoEffect, kOneGpu},
    {"-fitc", "-fitc", Kind::kNoEffect, kOneGpu},
    {"--fit-ctx", "-fitc", Kind::kNoEffect, kOneGpu},
    {"--fit", "--fit", Kind::kNoEffectSwitch, kOneGpu},
    {"-fa", "-fa", Kind::kNoEffect, "there is one attention"},
    {"--flash-attn", "-fa", Kind::kNoEffect, "there is one attention"},
    {"-mmp", "-mmp", Kind::kNoEffect, "files are always mapped"},
    {"--mmap", "-mmp", Kind::kNoEffect, "files are always mapped"},
    {"-dio", "-dio", Kind::kNoEffect, "files are always mapped"},
    {"--direct-io", "-dio", Kind::kNoEffect, "files are always mapped"},
    {"-rtr", "-rtr", Kind::kNoEffect, "the planner decides the layout"},
    {"-thp", "-thp", Kind::kNoEffect, "large pages are the system's choice"},
    {"-fmoe", "-fmoe", Kind::kNoEffect, "there are no experts to fuse"},
    {"-mla", "-mla", Kind::kNoEffect, "there is one attention"},
    {"--repack", "--repack", Kind::kNoEffect, "the planner decides the layout"},
    {"--no-host", "--no-host", Kind::kNoEffect, kOneGpu},
    {"-C", "-C", Kind::kNoEffect, "threads are not pinned; taskset does that"},
    {"--cpu-mask", "-C", Kind::kNoEffect, "threads are not pinned; taskset does that"},
    {"--cpu-strict", "--cpu-strict", Kind::kNoEffect, "threads are not pinned"},
    {"--poll", "--poll", Kind::kNoEffect, "threads wait in their own way"},
    {"--prio", "--prio", Kind::kNoEffect, "the priority is the process's; nice does that"},
    {"--numa", "--numa", Kind::kNoEffect, "memory is not placed; numactl does that"},
    {"--delay", "--delay", Kind::kNoEffect, "each test is a process of its own"},
    {"--offline", "--offline", Kind::kNoEffectSwitch, "nothing is ever downloaded"},
    {"--progress", "--progress", Kind::kNoEffectSwitch, "progress is always shown"},
    {"-v", "-v", Kind::kNoEffectSwitch, "`lowbit inspect` shows what would run"},
    {"--verbose", "-v", Kind::kNoEffectSwitch, "`lowbit inspect` shows what would run"},
};

// "--n-prompt=8" as its name, written as llama-bench lists it, and the value that is attached.
struct Word {
  std::string word;
  std::optional<std::string> attached = {};
};

Word split_flag(const std::string& arg) {
  Word split{arg};
  if (!arg.starts_with("--")) return split;
  if (const size_t equals = arg.find('='); equals != std::string::npos) {
    split = {arg.substr(0, equals), arg.substr(equals + 1)};
  }
  std::replace(split.word.begin(), split.word.end(), '_', '-');  // as there
  return split;
}

const Flag* find_flag(const std::string& word) {
  const auto flag = std::find_if(std::begin(kFlags), std::end(kFlags),
                                 [&](const Flag& f) { return f.name == word; });
  return flag == std::end(kFlags) ? nullptr : flag;
}

void add(std::vector<int32_t>* to, bool first, const std::vector<int32_t>& values) {
  if (first) to->clear();
  to->insert(to->end(), values.begin(), values.end());
}

// "CUDA0" and "none" as they are called there.
std::string device_name(const std::string& device) {
  if (device == "CUDA0") return "cuda";
  return device == "none" || device == "CPU" ? "cpu" : device;
}

// Tests as they are asked for, and the cases that they come to.
class CaseList {
 public:
  void add(const LlamaTest& test, const BenchCase& c) {
    const auto [found, is_new] = index_.emplace(case_text(c), list_.cases.size());
    const LlamaCases::Asked asked{test, found->second};
    if (is_new) list_.cases.push_back(c);
    const std::string name = llama_test_name(test, c.depth);
    for (const LlamaCases::Asked& other : list_.tests) {
      if (other == asked) {
        return say(name + ": asked for more than once; it runs once, and -r N repeats it");
      }
      if (other.at == asked.at) {
        say(fmt::format("{} and {} are one case here: measured once, a row each",
                        llama_test_name(other.test, c.depth), name));
      }
    }
    list_.tests.push_back(asked);
  }
  LlamaCases take() { return std::move(list_); }

 private:
  void say(std::string line) {
    std::vector<std::string>& lines = list_.remarks;
    if (std::find(lines.begin(), lines.end(), line) == lines.end()) {
      lines.push_back(std::move(line));
    }
  }

  std::map<std::string, size_t> index_;  // of a case's JSON
  LlamaCases list_;
};

bool is_set(const std::vector<std::string>& overrides, std::string_view key) {
  return std::any_of(overrides.begin(), overrides.end(), [&](const std::string& item) {
    return item.starts_with(std::string(key) + "=");
  });
}

}  // namespace

bool LlamaBenchFlags::asked_for(const std::vector<std::string>& args) {
  return std::any_of(args.begin(), args.end(),
                     [](const std::string& arg) { return find_flag(split_flag(arg).word); });
}

bool LlamaBenchFlags::take(const std::vector<std::string>& args, size_t* i) {
  const auto [word, attached] = split_flag(args[*i]);
  const Flag* flag = find_flag(word);
  if (!flag) return false;
  given_ = true;
  const bool refused = flag->kind == Kind::kRefused;
  const bool no_effect = flag->kind == Kind::kNoEffect || flag->kind == Kind::kNoEffectSwitch;
  if (no_effect) remarks_.push_back(fmt::format("{}: no effect, {}", word, flag->why));
  if (flag->kind == Kind::kSwitch) warm_up_ = false;
  if (flag->kind == Kind::kSwitch || flag->kind == Kind::kNoEffectSwitch) return true;
  if (!attached && *i + 1 == args.size()) throw_error("{} needs a value", word);
  const std::string value = attached ? *attached : args[++*i];
  if (refused && !value.empty() && value != "0") throw_error("{}: {}", word, flag->why);
  if (!no_effect && !refused) set(std::string(flag->canonical), value);
  return true;
}

void LlamaBenchFlags::set(const std::string& flag, const std::string& value) {
  std::vector<std::string> words;
  for (const std::string_view word : split(value, ',')) words.emplace_back(trim(word));
  if (flag == "-m") {
    models_.insert(models_.end(), words.begin(), words.end());
  } else if (flag == "-p") {
    add(&prompts_, !prompts_given_, parse_llama_values(flag, value));
    prompts_given_ = true;
  } else if (flag == "-n") {
    add(&gens_, !gens_given_, parse_llama_values(flag, value));
    gens_given_ = true;
  } else if (flag == "-pg") {
    pairs_.push_back(parse_llama_pair(flag, value));
  } else if (flag == "-gp") {
    deep_.push_back(parse_llama_pair(flag, value));
  } else if (flag == "-d") {
    add(&depths_, false, parse_llama_values(flag, value));
  } else if (flag == "-t") {
    add(&threads_, false, parse_llama_values(flag, value));
  } else if (flag == "-r") {
    const std::vector<int32_t> counts = parse_llama_values(flag, value);
    if (counts.size() != 1 || counts[0] < 1) throw_error("-r {}: one number from 1 up", value);
    repetitions_ = counts[0];
  } else if (flag == "-dev") {
    for (const std::string& word : words) devices_.push_back(device_name(word));
  } else if (flag == "-oe") {
    const std::vector<std::string> known = {"csv", "json", "jsonl", "md", "sql"};
    if (std::find(known.begin(), known.end(), value) == known.end()) {
      throw_error("-oe {}: must be one of {}", printable(value), join(known, ", "));
    }
    also_ = value;
  } else if (caches_.empty() || caches_ == words) {
    caches_ = words;
  } else {
    throw_error("-ctk {} and -ctv {}: keys and values have one format here", join(caches_, ","),
                join(words, ","));
  }
}

void LlamaBenchFlags::apply(BenchConfig* config, const std::vector<std::string>& overrides) const {
  const auto take_over = [](auto* key, const auto& values) {
    if (!values.empty()) *key = values;
  };
  take_over(&config->model, models_);
  take_over(&config->depth, depths_);
  take_over(&config->threads, threads_);
  take_over(&config->kv_format, caches_);
  take_over(&config->device, devices_);
  if (!is_set(overrides, "format")) config->format = {"stored"};
  if (!is_set(overrides, "quality") && config->text.empty()) config->quality = "none";
  config->skip_first = warm_up_ ? 1 : 0;
  config->active = repetitions_;
  config->repeat = 1;
}

LlamaCases LlamaBenchFlags::cases(const BenchConfig& config) const {
  CaseList list;
  const auto add = [&](const LlamaTest& test, const std::vector<int32_t>& depths) {
    if (test.prompt == 0 && test.gen == 0) return;  // -p 0 leaves that test out
    BenchConfig one = config;
    one.prompt_tokens = {test.prompt_tokens()};
    one.new_tokens = {test.new_tokens()};
    one.depth = depths;
    for (const BenchCase& c : cases_of(one)) list.add(test, c);
  };
  for (const int32_t prompt : prompts_) add({prompt, 0}, config.depth);
  for (const int32_t gen : gens_) add({0, gen}, config.depth);
  for (const LlamaTest& test : pairs_) add(test, config.depth);
  for (const LlamaTest& test : deep_) add({0, test.gen}, {test.prompt});
  LlamaCases cases = list.take();
  if (cases.cases.empty()) throw_error("-p 0 and -n 0: no test is left");
  return cases;
}

std::string llama_bench_help() {
  return "\nllama-bench's flags work too (any of them asks for its tests, table and defaults):\n"
         "  -m MODEL       may be repeated\n"
         "  -p N -n N      tests of a prompt, of generating (512 and 128; 0: none)\n"
         "  -pg P,N        a test of both, one after the other\n"
         "  -d N           tokens of context before the test\n"
         "  -gp P,N        a test of generating N with P tokens of context\n"
         "  -r N           repetitions (5, after one that is not counted; --no-warmup)\n"
         "  -t N -ctk F -ctv F -dev D   threads, format of the cache, device\n"
         "  -o md|csv|json|jsonl|sql, -oe: the same to standard error\n"
         "N may be a list (1,2,4) or a range (1-64*2, 128-512+128); several values make a "
         "product.\n"
         "Its other flags are accepted, and say in one line that they have no effect.\n";
}

}  // namespace lowbit
