// The command line: finds the command, runs it, and turns every failure into one line and an exit
// code.
//   0  done        1  the work failed (a bench case, a lockstep difference)
//   2  the user's data or request is wrong: one line "lowbit: error: ..." on standard error
#pragma once

#include <span>
#include <string>
#include <vector>

namespace lowbit {

int run(std::span<const std::string> args);  // without the program's own name

}  // namespace lowbit
