// Reads one number of a registry by its name.
import type { Numbers } from '../../src/numbers/numbers.ts'
import { numbersTable } from '../../src/numbers/text.ts'

/** Of all labels together that begin like this: 'name' or 'name{label="value"'. */
export async function numberOf(numbers: Numbers, begin: string): Promise<number> {
  const all = Object.entries(numbersTable(await numbers.read()))
  return all
    .filter(([key]) => key === begin || key.startsWith(`${begin}{`) || key.startsWith(`${begin},`))
    .reduce((sum, [, value]) => sum + Number(value), 0)
}
