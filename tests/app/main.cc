// The tests of the command line. Its own program too: `lowbit bench` runs each case as a child of
// the program that it is part of.
#include <gtest/gtest.h>

#include "app/app.h"
#include "app/run_lowbit.h"

int main(int argc, char** argv) {
  const std::vector<std::string> args(argv + 1, argv + argc);
  if (!args.empty() && !args[0].starts_with('-')) return lowbit::run(args);
  testing::InitGoogleTest(&argc, argv);
  const lowbit::fixtures::CeilingsFolder ceilings;
  lowbit::fixtures::store_endless_ceilings();
  return RUN_ALL_TESTS();
}
