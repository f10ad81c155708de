// The fields of the harness's autoround-<device>-<head>-<iterations>-<group size>-<batch
// size>-<sequence length>-<samples>-<gradient steps>-<compile>, all optional from the right.
#pragma once

#include <string_view>

#include "quantize/method.h"

namespace lowbit {

// `fields`: what follows "autoround". Changes format, head and iterations, and adds to the note
// which fields that were given have no effect. Error names the field.
void read_autoround_name(std::string_view fields, Method* method);

}  // namespace lowbit
