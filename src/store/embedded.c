/* Weights that are compiled into the library: the bytes of a .safetensors file, in a section that is only read. They
 * cost no memory until something reads them: a page comes in when it is touched. */
#include "store/store.h"

/* .incbin and not an array: a compiler takes a minute and a gigabyte over megabytes of initialisers. */
#define EMBED(symbol, file)                                                                                            \
    __asm__(".pushsection .rodata." #symbol ",\"a\",%progbits\n"                                                       \
            ".balign 64\n"                                                                                             \
            ".hidden " #symbol "\n"                                                                                    \
            ".global " #symbol "\n" #symbol ":\n"                                                                      \
            ".incbin \"" file "\"\n"                                                                                   \
            ".hidden " #symbol "_end\n"                                                                                \
            ".global " #symbol "_end\n" #symbol "_end:\n"                                                              \
            ".popsection\n");                                                                                          \
    extern const uint8_t symbol[], symbol##_end[]

EMBED(builtin_weights, BUILTIN_FILE);

static const EmbeddedWeights embedded[] = {
    {{"builtin.safetensors", "builtin", BUILTIN_SHA256, ""}, builtin_weights, builtin_weights_end}};

const EmbeddedWeights *embedded_weights(size_t index) {
    return index < sizeof embedded / sizeof *embedded ? &embedded[index] : NULL;
}
