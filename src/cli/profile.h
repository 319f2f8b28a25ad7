/* The table of a profile, which bench and train print. */
#ifndef BLEMISH_CLI_PROFILE_H
#define BLEMISH_CLI_PROFILE_H

#include "cli.h"

#define PROFILE_OPTION(Values, text)                                                                                   \
    { .name = "profile", .help = text, .kind = OPTION_FLAG, .offset = offsetof(Values, profile) }

/* Stages summed over `units` images, runs or steps (each a `unit`, for the heading), against the machine's peak. */
void profile_print(const BlemishStage *stages, size_t count, const BlemishPeak *peak, double units, const char *unit);
/* The same as JSON: {"stages": [...], "peak": {...}}, per unit. NULL when memory is short. */
json_t *profile_json(const BlemishStage *stages, size_t count, const BlemishPeak *peak, double units);

#endif
