// Evaluates each line of the standard input, and answers with a line of JSON.
import { createInterface } from 'node:readline'
import './echo.js'

const evaluate = eval // in the global scope
for await (const line of createInterface({ input: process.stdin })) {
  let answer
  try {
    answer = { value: (await evaluate(line)) ?? null }
  } catch (error) {
    answer = { error: String(error) }
  }
  process.stdout.write(JSON.stringify(answer) + '\n')
}
