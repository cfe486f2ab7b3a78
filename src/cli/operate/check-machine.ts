// What the process is given: files, memory, certificates, and the rights of its settings' file.
import { statSync } from 'node:fs'
import { totalmem } from 'node:os'
import { readCertificates, type Validity } from '../../certificates.ts'
import type { Config } from '../../config.ts'
import { BrokerError } from '../../errors.ts'
import { checkExposure, isOpenToNetwork } from '../../exposure.ts'
import { openFilesLimit } from '../../open-files.ts'
import { size } from '../words.ts'
import { type Finding, failed, ok, warning } from './finding.ts'

const MIB = 1024 * 1024
/** Resident under full load, and room for clients. */
const MEMORY_FEW = 512 * MIB
const MEMORY_MIN = 192 * MIB
const FILES_FEW = 4096
const EXPIRY_SOON_MS = 14 * 24 * 3_600_000

/** @param pid of the broker, when it runs */
export function checkMachine(
  config: Config,
  file: string | undefined,
  pid: number | undefined,
  nowMs: number,
) {
  return [
    ...filesOf(openFilesLimit(pid), pid !== undefined),
    memoryOf(Math.min(totalmem(), process.constrainedMemory() || Number.POSITIVE_INFINITY)),
    ...secretsOf(config, file),
    ...exposureOf(config),
    ...certificatesOf(config, nowMs),
  ]
}

export function filesOf(limit: number | undefined, isRunning: boolean): readonly Finding[] {
  if (limit === undefined) return []
  const text = `${isRunning ? 'the broker' : 'a process here'} may have ${limit} files and connections open`
  if (limit >= FILES_FEW) return [ok('files', text)]
  return [warning('files', text, 'raise it: ulimit -n 65536, LimitNOFILE= of a systemd unit')]
}

export function memoryOf(bytes: number): Finding {
  const text = `there is ${size(bytes)} of memory`
  const advice =
    'give it 512 MiB, and more with many clients and large messages (docs/operate/sizing.md)'
  if (bytes < MEMORY_MIN) return failed('memory', text, advice)
  return bytes < MEMORY_FEW ? warning('memory', text, advice) : ok('memory', text)
}

/** The file of the settings holds secret keys. */
function secretsOf({ users }: Config, file: string | undefined): readonly Finding[] {
  if (file === undefined || Object.keys(users).length === 0) return []
  const isOpen = (statSync(file).mode & 0o004) !== 0
  if (!isOpen) return [ok('secrets', `'${file}' is not readable by every user`)]
  const text = `every user of this machine may read '${file}', which has secrets of users`
  return [warning('secrets', text, `chmod 600 '${file}'`)]
}

function exposureOf(config: Config): readonly Finding[] {
  try {
    checkExposure(config)
  } catch (error) {
    const [text = '', ...advice] = BrokerError.from(error).message.split('\n')
    return [failed('exposure', text, advice.map((line) => line.trim()).join(' '))]
  }
  if (!isOpenToNetwork(config)) return [ok('exposure', 'only this machine reaches the broker')]
  if (Object.keys(config.users).length === 0 && config.insecureOpenToTheNetwork) {
    const text = 'every client that reaches a port may do everything'
    return [warning('exposure', text, 'add users, and take insecureOpenToTheNetwork away')]
  }
  if (config.tls.certificate !== undefined)
    return [ok('exposure', 'users log in, and TLS is offered')]
  const text = 'passwords and messages cross the network in the clear'
  return [warning('exposure', text, 'set tls.certificate and tls.key (docs/operate/tls.md)')]
}

function certificatesOf({ tls }: Config, nowMs: number): readonly Finding[] {
  try {
    return readCertificates(tls).expiries.map((one) => expiryOf(one, nowMs))
  } catch (error) {
    return [failed('tls', BrokerError.from(error).message, 'the broker does not start with it')]
  }
}

export function expiryOf(
  { setting, file, validFromMs, validToMs }: Validity,
  nowMs: number,
): Finding {
  const what = `${setting} ('${file}')`
  const until = new Date(validToMs).toISOString()
  const advice = 'renew it; a broker that runs takes the new file by itself'
  if (nowMs > validToMs) return failed('tls', `${what} expired at ${until}`, advice)
  if (nowMs < validFromMs) {
    const from = new Date(validFromMs).toISOString()
    return failed('tls', `${what} is not valid before ${from}`, 'see that the clock is right')
  }
  const text = `${what} is valid until ${until}`
  return validToMs - nowMs < EXPIRY_SOON_MS ? warning('tls', text, advice) : ok('tls', text)
}
