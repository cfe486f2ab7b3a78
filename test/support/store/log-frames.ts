// The frames of a simulated log, as its followers get them.
import type { LogPosition } from '../../../src/model/positions.ts'
import { headerAt } from '../../../src/store/log/frame.ts'
import type { LogSimulation } from '../simulation/log-simulation.ts'

/** From a position on, one by one, as far as they are synced. */
export async function framesOf(of: LogSimulation, from: LogPosition): Promise<Buffer[]> {
  const frames: Buffer[] = []
  const feed = of.log.feed(from)
  for (let to: number = from; to < of.log.syncedEnd; ) {
    const batch = (await of.wait(feed.next()))!
    for (let at = 0; at < batch.bytes.length; ) {
      const { length } = headerAt(batch.bytes, at)!
      frames.push(batch.bytes.subarray(at, at + length))
      at += length
    }
    to = batch.to
  }
  feed.close()
  return frames
}
