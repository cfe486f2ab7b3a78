// trivet hash-password: a password becomes the text that the configuration keeps.
import { BrokerError } from '../errors.ts'
import { hashPassword } from '../password.ts'
import { command } from './command.ts'

export const hashPasswordCommand = command({
  summary: 'Make the text that stands for a password in the configuration',
  details: 'Reads the password from the terminal without showing it, or the first line of a pipe.',
  examples: ['trivet hash-password', 'pass show broker | trivet hash-password'],
  async run({ terminal, signal }) {
    const password = await terminal.secret('Password: ', signal)
    if (password.length === 0) {
      throw new BrokerError('ARGUMENT_INVALID', 'the password is empty; nothing was made')
    }
    terminal.print(await hashPassword(password))
  },
})
