// Of a slave: what its disk has lost of the log is read from its master and written in its place,
// before it follows. A copy that is not whole would be the last to be elected, and would lack what
// it lost as a master.
import { BrokerError } from '../errors.ts'
import type { Logger } from '../log.ts'
import { logPosition } from '../model/positions.ts'
import type { Replication } from '../store/replication.ts'
import { type Hello, type MasterAddress, MasterLink } from './master-link.ts'
import { CHECKED_BYTES_MAX, WIRE_VERSION } from './wire.ts'

export interface MenderContext {
  readonly replication: Replication
  readonly identity: Omit<Hello, 'version' | 'logId' | 'epoch' | 'end'>
  readonly master: () => MasterAddress
  readonly log: Logger
}

type DamagedRange = Replication['damage'][number]

/** As far as the master has it. Never rejects, but for the signal. */
export async function mendFrom(
  context: MenderContext,
  masterStart: number,
  signal: AbortSignal,
): Promise<void> {
  const { replication, master, log, identity } = context
  if (replication.damage.length === 0) return
  const { address } = master()
  try {
    const link = await MasterLink.dial({ ...master(), signal })
    try {
      const { logId, epoch } = replication
      await link.hello({ version: WIRE_VERSION, ...identity, logId, epoch }, signal)
      for (const range of replication.damage) {
        if (range.from < masterStart) continue
        await mendRange(replication, link, range, masterStart)
        const { from, to } = range
        const text = `bytes ${from} to ${to} of the log, which this disk had lost, are there again, from the master ${address}`
        log.info({ evt: 'replication.mended', from, to, master: address }, text)
      }
    } finally {
      link.close()
    }
  } catch (thrown) {
    signal.throwIfAborted()
    const { code, message: reason } = BrokerError.from(thrown)
    const text = `what this disk lost of the log cannot be had from the master ${address} just now: ${reason}`
    log.warn({ evt: 'replication.not_mended', master: address, code, reason }, text)
  }
}

async function mendRange(
  replication: Replication,
  link: MasterLink,
  range: DamagedRange,
  masterStart: number,
): Promise<void> {
  let left: DamagedRange | undefined = range
  while (left !== undefined) {
    const { from } = left
    const checkFrom = Math.max(from - CHECKED_BYTES_MAX, replication.start, masterStart)
    const check =
      checkFrom < from
        ? await replication.checksum(logPosition(checkFrom), logPosition(from))
        : undefined
    const proof = check === undefined ? {} : { checkFrom, check }
    await replication.mend(left, await link.read({ from, ...proof }))
    left = replication.damage.find(({ to }) => to === range.to)
  }
}
