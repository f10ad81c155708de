// Broken models: a table of files that no reader may accept, each with what the message must say.
// Run by tests/load through open_checkpoint() and by tests/app through the command line.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace lowbit::fixtures {

struct HostileFile {
  std::string name;  // of the case: letters, digits, underscores
  // Writes the files into the existing empty folder `dir` and returns what to open.
  std::function<std::string(const std::string& dir)> write;
  std::vector<std::string> expected;  // each is a part of the message: file, field, problem
};

// Opening the model, reading the hyperparameters that a Llama needs and then its tensors
// (read_llama) meets the error in every case.
std::vector<HostileFile> hostile_files();
std::vector<HostileFile> hostile_quantized_files();  // some of them, from hostile_quantized.cc
std::vector<HostileFile> hostile_torch_files();      // and from hostile_torch.cc

// The tiny Llama that the broken ones are made from, unbroken. Both return what to open.
std::string write_valid_hf(const std::string& dir);
std::string write_valid_gguf(const std::string& dir);

// Opens `model` and reads all that a Llama reads: hyperparameters, every tensor, ids.
void read_llama(const std::string& model);

}  // namespace lowbit::fixtures
