// trivet hash-password: a password becomes the text that the configuration keeps.

import { hashPassword } from '../access/secrets/password.ts'
import { BrokerError } from '../errors.ts'
import { command } from './command.ts'

export const hashPasswordCommand = command({
  summary: 'Make the text that stands for a password in the configuration',
  details: 'Reads the password from the terminal without showing it, or the first line of a pipe.',
  flags: {
    scram: {
      type: 'boolean',
      describe:
        'The keys for SCRAM-SHA-256 (`users.NAME.scram`) in place of the hash for `password`.',
    },
  },
  examples: [
    'trivet hash-password',
    'trivet hash-password --scram',
    'pass show broker | trivet hash-password',
  ],
  async run({ flags, terminal, signal }) {
    const password = await terminal.secret('Password: ', signal)
    if (password.length === 0) {
      throw new BrokerError('ARGUMENT_INVALID', 'the password is empty; nothing was made')
    }
    if (!flags.scram) return terminal.print(await hashPassword(password))
    const { makeScramKeys, scramText } = await import('../access/secrets/scram-keys.ts')
    terminal.print(scramText(await makeScramKeys(password)))
  },
})
