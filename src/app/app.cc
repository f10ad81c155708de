#include "app/app.h"

#include <csignal>
#include <cstdio>
#include <new>
#include <vector>

#include "app/cmd_bench.h"
#include "app/commands.h"
#include "app/output.h"
#include "backends.h"
#include "base/build_info.h"
#include "base/check.h"
#include "base/text.h"
#include "engine/launch_blocking.h"

namespace lowbit {
namespace {

struct Command {
  std::string_view name;
  std::string_view summary;
  int (*run)(const std::vector<std::string>& args);
};

constexpr Command kCommands[] = {
    {"generate", "continue a prompt", cmd_generate},
    {"eval", "perplexity, and distance to a reference model", cmd_eval},
    {"bench", "speed, memory and quality of models and formats", cmd_bench},
    {"microbench", "speed of single Linears, by torchao's microbenchmark configs", cmd_microbench},
    {"compare", "two results side by side: what differs beyond noise", cmd_compare},
    {"report", "stored results as a page, table, spreadsheet or database", cmd_report},
    {"roofline", "the most that this machine can do with a model", cmd_roofline},
    {"quality", "what each format costs in quality", cmd_quality},
    {"quantize", "store a model in another format", cmd_quantize},
    {"inspect", "what a model is made of and which kernels would run it", cmd_inspect},
    {"formats", "the number formats", cmd_formats},
    {"lockstep", "run two backends op by op and stop at the first difference", cmd_lockstep},
};

std::string help() {
  std::string text =
      "lowbit runs Llama models in every low-bit number format.\n\n"
      "usage: lowbit COMMAND [OPTIONS]\n\ncommands:\n";
  for (const Command& command : kCommands) {
    text += fmt::format("  {:<11}{}\n", command.name, command.summary);
  }
  return text +
         "\n  --help      this text; `lowbit COMMAND --help` for a command's options\n"
         "  --version   version, commit, compiler and backends\n\n"
         "A model is a Hugging Face folder, a .gguf file, embedded:NAME (linked into the binary)\n"
         "or synthetic:NAME (random weights of a known shape, for speed and memory).\n\n" +
         kLaunchBlockingHelp;
}

std::string version() {
  const BuildInfo& build = build_info();
  std::vector<std::string> devices;
  for (const Backend* backend : backends()) devices.emplace_back(backend->name);
  const std::string cuda =
      build.cuda ? fmt::format("yes ({}; {})", build.cuda_toolkit, build.cuda_architectures)
                 : std::string("no");
  return fmt::format(
      "lowbit {}\ncommit    {}{}\nbuild     {}, {}\nflags     {}\ncuda      {}\nbackends  {}\n",
      build.version, build.commit, build.dirty ? " (changed)" : "", build.build_type,
      build.compiler, build.flags, cuda, join(devices, ", "));
}

int dispatch(std::span<const std::string> args) {
  if (args.empty()) throw_error("no command; `lowbit --help` lists them");
  const std::string& name = args[0];
  if (name == "--help" || name == "-h" || name == "help") return print(help()), 0;
  if (name == "--version" || name == "version") return print(version()), 0;
  std::vector<std::string> names;
  for (const Command& command : kCommands) {
    if (command.name == name) return command.run({args.begin() + 1, args.end()});
    names.emplace_back(command.name);
  }
  throw_error("unknown command `{}`{} (`lowbit --help` lists them)", printable(name),
              suggestion(name, names));
}

// A list in a message has its own lines (list_lines).
int fail(const std::string& message) {
  std::vector<std::string> lines;
  for (const std::string_view line : split(message, '\n')) lines.push_back(printable(line, 2000));
  std::fprintf(stderr, "lowbit: error: %s\n", join(lines, "\n").c_str());
  return 2;
}

}  // namespace

int run(std::span<const std::string> args) {
  std::signal(SIGPIPE, SIG_IGN);  // a closed pipe is an error of write(), seen by print()
  try {
    const int code = dispatch(args);
    flush_output();
    return code;
  } catch (const OutputClosed&) {
    return 0;
  } catch (const Error& error) {
    return fail(error.what());
  } catch (const std::bad_alloc&) {
    return fail("out of memory; try a smaller --max-context, fewer sequences or a smaller format");
  }
}

}  // namespace lowbit
