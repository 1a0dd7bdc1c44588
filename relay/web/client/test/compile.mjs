// Compiles a Vue component, the first argument, to a module, the second one.
import { readFileSync, writeFileSync } from 'node:fs'
import { compileScript, parse } from 'vue/compiler-sfc'

const [input, output] = process.argv.slice(2)
writeFileSync(output, compileScript(parse(readFileSync(input, 'utf8')).descriptor, { id: 'x', inlineTemplate: true }).content)
