#include "cli.h"

#include <string.h>

typedef struct Values {
    bool json;
} Values;

static const Option options[] = {
    {.name = "json", .help = "print a JSON object", .kind = OPTION_FLAG, .offset = offsetof(Values, json)},
};

static int print_json(const char *path, const BlemishModelInfo *info) {
    json_error_t error;
    json_t *header = json_loads(info->header_json, 0, &error);
    return json_print(json_pack("{s:o, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o}",                //
                                "file", json_text(path), "backbone", info->backbone, "variant", info->variant, //
                                "regime", info->regime, "height", (json_int_t)info->height,                    //
                                "width", (json_int_t)info->width, "map_height", (json_int_t)info->map_height,
                                "map_width", (json_int_t)info->map_width, "threshold", json_number(info->threshold),
                                "pixel_threshold", json_number(info->pixel_threshold), "roi_share",
                                json_number(info->roi_share), //
                                "header", header ? header : json_null()));
}

static void print_value(const char *indent, const char *name, const json_t *value) {
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(9)); // exact for the header
    const bool quoted = text && *text == '"';
    if (text) printf("%s%-26s %.*s\n", indent, name, (int)strlen(text) - 2 * quoted, text + quoted);
    free(text);
}

/* One line a value; the keys of an object inside are SECTION.KEY. */
static void print_section(const char *prefix, json_t *section) {
    const char *key;
    json_t *value;
    json_object_foreach(section, key, value) {
        char name[80];
        snprintf(name, sizeof name, "%s%s%s", prefix, *prefix ? "." : "", key);
        if (json_is_object(value) && !*prefix) {
            print_section(name, value);
        } else {
            print_value("  ", name, value);
        }
    }
}

/* The header's plain values, then its nested objects ("recipe", "metrics") as indented lists. */
static int print_text(const BlemishModelInfo *info) {
    json_t *header = json_loads(info->header_json, 0, NULL), *value;
    const char *name;
    if (!header) return fail("memory is short");
    json_object_foreach(header, name, value) {
        if (!json_is_object(value) && !json_is_null(value)) print_value("", name, value);
    }
    printf("%-26s %zu x %zu (height x width)\n", "map", info->map_height, info->map_width);
    printf("%-26s %.1f %% of the image\n", "region of interest", 100 * info->roi_share);
    json_object_foreach(header, name, value) {
        if (!json_is_object(value) || !json_object_size(value)) continue;
        printf("%s\n", name);
        print_section("", value);
    }
    json_decref(header);
    return EXIT_OK;
}

static int run(int argc, char **argv) {
    Values values = {0};
    size_t count;
    int code = options_parse(&command_info, argc, argv, &values, &count);
    if (code >= 0) return code;
    BlemishModel *model = model_open(argv[0]);
    if (!model) return EXIT_FAILED;
    BlemishModelInfo info = blemish_model_info(model);
    code = values.json ? print_json(argv[0], &info) : print_text(&info);
    blemish_model_close(model);
    return code;
}

const Command command_info = {
    .name = "info",
    .summary = "say what a model file holds",
    .operands = "MODEL",
    .operands_least = 1,
    .operands_most = 1,
    .description = "Prints everything a model file says of itself: backbone, input size, thresholds, program version, "
                   "fingerprint of the training data, the recipe it was trained by and the metrics of its last "
                   "evaluation.",
    .example = "blemish info tiles.blemish --json",
    OPTIONS(options),
    .run = run,
};
