"""Tables of docs/performance.md, between <!-- NAME --> and <!-- end NAME -->: programs write what programs measured."""
import os
import re
import sys

PAGE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "docs/performance.md")


def put(write, name, text):
    """Prints the block and, where `write`, replaces it in the page."""
    print("## %s\n\n%s" % (name, text), flush=True)
    if not write: return
    with open(PAGE, encoding="utf-8") as f: page = f.read()
    block = re.compile(r"(<!-- %s -->\n).*?(<!-- end %s -->)" % (name, name), re.DOTALL)
    if not block.search(page): sys.exit("%s: <!-- %s -->: found none, expected the block's two marks" % (PAGE, name))
    page = block.sub(lambda m: m.group(1) + text.rstrip("\n") + "\n" + m.group(2), page)
    with open(PAGE + ".part", "w", encoding="utf-8") as f: f.write(page)
    os.rename(PAGE + ".part", PAGE)
