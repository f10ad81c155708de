// The commands. Each gets the arguments after its name and returns its exit code (app/app.h).
#pragma once

#include <string>
#include <vector>

namespace lowbit {

int cmd_generate(const std::vector<std::string>& args);
int cmd_compare(const std::vector<std::string>& args);
int cmd_eval(const std::vector<std::string>& args);
int cmd_inspect(const std::vector<std::string>& args);
int cmd_formats(const std::vector<std::string>& args);
int cmd_quality(const std::vector<std::string>& args);
int cmd_quantize(const std::vector<std::string>& args);
int cmd_report(const std::vector<std::string>& args);
int cmd_roofline(const std::vector<std::string>& args);
int cmd_microbench(const std::vector<std::string>& args);
int cmd_lockstep(const std::vector<std::string>& args);

}  // namespace lowbit
