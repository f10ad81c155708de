// The tests of the command line. Its own program too: `lowbit bench` runs each case as a child of
// the program that it is part of.
#include <gtest/gtest.h>

#include "app/app.h"

int main(int argc, char** argv) {
  const std::vector<std::string> args(argv + 1, argv + argc);
  if (!args.empty() && !args[0].starts_with('-')) return lowbit::run(args);
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
