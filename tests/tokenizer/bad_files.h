// Broken and hostile tokenizer files, and what the one line of error has to say about each. The
// command-line tests write the same files into a model folder.
#pragma once

#include <string>
#include <vector>

namespace lowbit {

struct BadTokenizerFile {
  std::string name;  // of the case: letters, digits and underscores
  std::string file;  // its name in the model folder
  std::string content;
  std::string message;    // part of the error; the file's path is in front of it
  std::string text = {};  // not empty: the file is accepted, encoding this text is the error
};

std::vector<BadTokenizerFile> bad_tokenizer_files();

}  // namespace lowbit
