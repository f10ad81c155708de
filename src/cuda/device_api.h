// The cuda backend's DeviceApi.
#pragma once

#include "ops/device_api.h"

namespace lowbit::cuda {

const DeviceApi& device_api();

}  // namespace lowbit::cuda
