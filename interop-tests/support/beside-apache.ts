// The same requests asked of Apache RocketMQ 5.5.0 and of our server: one test for each probe, whose answers are the
// same, but for those that are named.
import test from 'ava'
import { spawnServer } from '../../test/support/server.ts'
import {
  type ApacheSettings,
  apacheRocketmqMissing,
  startApacheRocketmq,
} from './apache-rocketmq.ts'
import { Peer } from './compatibility-peer.ts'
import { needing } from './needing.ts'

/** What is asked, and what is answered. */
export type Answers = Map<string, string>
export type Probe = (peer: Peer, answers: Answers) => Promise<void>
/** Apache's answer, and ours; docs/reference/compatibility.md says why. */
export type Differences = Readonly<Record<string, readonly [theirs: string, ours: string]>>

export interface Beside {
  readonly probes: Readonly<Record<string, Probe>>
  readonly differences: Differences
  readonly apache?: ApacheSettings
}

/** Declares them; `what` they are, for a machine that cannot run Apache's broker. */
export async function besideApache(what: string, beside: Beside): Promise<void> {
  const missing = await apacheRocketmqMissing()
  const testBoth = needing(what, missing)
  let theirs: Peer
  let ours: Peer
  const leftovers: (() => unknown)[] = []
  test.before(async (t) => {
    t.timeout(400_000)
    if (missing !== undefined) return
    const apache = await startApacheRocketmq(beside.apache)
    leftovers.unshift(() => apache.stop())
    const later = { teardown: (end: () => unknown) => void leftovers.unshift(end) }
    const server = await spawnServer(later)
    theirs = await Peer.connect(apache.broker, apache.nameServer)
    ours = await Peer.connect(server.address('remoting'), server.address('nameServer'))
  })
  test.after.always(async () => {
    for (const peer of [theirs, ours]) peer?.[Symbol.dispose]()
    for (const end of leftovers) await end()
  })
  for (const [name, probe] of Object.entries(beside.probes)) {
    testBoth(`${name} are answered as by Apache`, async (t) => {
      t.timeout(120_000)
      const [expected, answers]: Answers[] = [new Map(), new Map()]
      await probe(theirs, expected!)
      await probe(ours, answers!)
      t.deepEqual([...answers!.keys()], [...expected!.keys()])
      for (const [about, answer] of answers!) {
        const said = expected!.get(about)!
        t.deepEqual([said, answer], [...(beside.differences[about] ?? [said, said])], about)
      }
    })
  }
}
