// Everything: one include for programs written on the library. The C interface is gallocy/gallocy_c.h.
#pragma once

#include "gallocy/errors.h"
#include "gallocy/heap.h"
#include "gallocy/node.h"
#include "gallocy/result.h"
#include "gallocy/section.h"
#include "gallocy/sync.h"
#include "gallocy/thread.h"
#include "gallocy/transaction.h"
