#include "cli.h"

#include <string.h>

typedef struct Values {
    const char *backbone, *from;
    bool quiet;
} Values;

static const Option options[] = {
    {.name = "backbone",
     .argument = "NAME",
     .help = "import: what the file holds, where its tensors leave it open",
     .kind = OPTION_TEXT,
     .offset = offsetof(Values, backbone)},
    {.name = "from",
     .argument = "URL",
     .help = "fetch: the address to use instead of the published one",
     .kind = OPTION_TEXT,
     .offset = offsetof(Values, from)},
    QUIET_OPTION(Values),
};

static int list(void) {
    BlemishWeights known;
    char path[PATH_SIZE];
    for (size_t i = 0; blemish_weights_known(i, &known); i++) {
        if (!known.url[0]) {
            printf("%-16s compiled in\n  sha256  %s\n", known.backbone, known.sha256_prefix);
            continue;
        }
        printf("%-16s %s\n", known.backbone, known.name);
        printf("  sha256  %s...\n  from    %s\n", known.sha256_prefix, known.url);
        printf("  file    %s\n", blemish_weights_find(known.backbone, path, sizeof path, NULL) ? "-" : path);
    }
    puts("searched, in this order:");
    for (size_t i = 0; blemish_weights_folder(i, path, sizeof path); i++) printf("  %s\n", path);
    return EXIT_OK;
}

static int import(const char *file, const Values *values) {
    char path[PATH_SIZE], error[BLEMISH_ERROR_SIZE] = "";
    if (blemish_weights_import(file, values->backbone, path, sizeof path, error)) return fail("%s", error);
    puts(path);
    return EXIT_OK;
}

static int fetch(const char *name, const Values *values) {
    char path[PATH_SIZE], error[BLEMISH_ERROR_SIZE] = "";
    ProgressBar bar;
    progress_start(&bar, values->quiet);
    stop_on_signals();
    BlemishStatus status = blemish_weights_fetch(name, values->from, progress_show, &bar, path, sizeof path, error);
    progress_end(&bar);
    if (status == BLEMISH_ERROR_INTERRUPTED)
        return fail("%s: interrupted; the same command continues the download", name);
    if (status) return fail("%s", error);
    puts(path);
    return EXIT_OK;
}

static int run(int argc, char **argv) {
    Values values = {0};
    size_t count;
    int code = options_parse(&command_weights, argc, argv, &values, &count);
    if (code >= 0) return code;
    const char *action = count ? argv[0] : "list";
    if (!strcmp(action, "list") && count <= 1) return list();
    if (!strcmp(action, "import") && count == 2) return import(argv[1], &values);
    if (!strcmp(action, "fetch") && count == 2) return fetch(argv[1], &values);
    return wrong_usage(&command_weights, "%s: expected list, import FILE or fetch NAME", action);
}

const Command command_weights = {
    .name = "weights",
    .summary = "list, import and download backbone weights",
    .operands = "[list | import FILE | fetch NAME]",
    .operands_most = 2,
    .description =
        "Training starts from a backbone, a network with trained weights. Those of builtin, the default, are part of "
        "the program; the others are ResNets trained on ImageNet, whose weights are files. 'list' shows all with "
        "checksums, and the file that training would use: the first of that name, BACKBONE.pth or BACKBONE.safetensors "
        "in the folders that are searched, $BLEMISH_WEIGHTS, ~/.cache/blemish and the source tree's models/.\n\n"
        "'import' checks a PyTorch .pth or .safetensors file and copies it into the cache. 'fetch' downloads a known "
        "file there, by file or backbone name; an interrupted download is continued, a file with the wrong checksum is "
        "refused. Both print where the file now is.",
    .example = "blemish weights fetch resnet18\n"
               "blemish weights import ~/Downloads/wide_resnet50_2-95faca4d.pth",
    OPTIONS(options),
    .run = run,
};
