// Options are said in JavaScript as well as in TypeScript, where a name that is written wrong would be left out
// without a word.
import { BrokerError } from '../errors.ts'

/** @throws BrokerError ARGUMENT_INVALID for a name that is none of the known ones */
export function checkNames<T extends object>(
  what: string,
  given: T,
  known: Readonly<Record<keyof T, true>>,
): void {
  for (const name of Object.keys(given)) {
    if (Object.hasOwn(known, name)) continue
    const names = Object.keys(known).join(', ')
    throw new BrokerError('ARGUMENT_INVALID', `'${name}' is no option of ${what}; it has ${names}`)
  }
}
