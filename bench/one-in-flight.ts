// What a client with one message in flight waits for: this build, another one, and the least that
// an acknowledged message costs on the same disk (bare-log.ts), in turn and in short slices, so
// that all of them meet the same neighbours. Prints, asserts nothing.
//
//   npm run build
//   node dist/bench/one-in-flight.js [OTHER-CHECKOUT] [--slices 40] [--only native|MQTT|AMQP]
//
// OTHER-CHECKOUT is a built checkout. With TMPDIR=/dev/shm a sync costs nothing, and what is left
// is the broker's own part.
import { existsSync, rmSync } from 'node:fs'
import { cpus, loadavg } from 'node:os'
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { SpawnedServer, TRIVET } from '../test/support/server.ts'
import { CpuMeter } from './native/cpu-meter.ts'
import { startBareLog } from './peers/bare-log.ts'
import { type LoneProtocol, LoneSender } from './peers/lone-sender.ts'
import { peerDirectory } from './peers/peer.ts'

const SENDS = 150
/** Not counted: what is hot is compiled, and the topic made. */
const WARM_UP = 3000

const { values, positionals } = parseArgs({
  options: {
    slices: { type: 'string', default: '40' },
    only: { type: 'string', default: '' },
  },
  allowPositionals: true,
})

interface Contender {
  readonly name: string
  readonly pid: number
  readonly sender: LoneSender
  /** Of each slice, in ms. */
  readonly slices: number[][]
  cpuUs: number
}

const PORTS = { native: 'remoting', MQTT: 'mqtt', AMQP: 'amqp' } as const

async function main(): Promise<void> {
  const [first] = cpus()
  console.log(
    `${cpus().length} x ${first?.model}, Node ${process.version}, load ${loadavg()[0]}, ` +
      `${values.slices} slices of ${SENDS} messages\n`,
  )
  for (const protocol of Object.keys(PORTS) as (keyof typeof PORTS)[]) {
    if (protocol.includes(values.only)) await compare(protocol)
  }
}

async function compare(protocol: keyof typeof PORTS): Promise<void> {
  const builds = [{ name: 'this build', trivet: TRIVET }]
  const [other] = positionals
  if (other !== undefined) {
    builds.push({ name: 'other build', trivet: resolve(other, 'bin/trivet.cjs') })
  }
  const ends: (() => unknown)[] = []
  try {
    const bare = await startBareLog()
    ends.push(() => bare.kill())
    const all = [await contender('the least there is', bare.pid, 'bare', bare.port)]
    for (const { name, trivet } of builds) {
      const dataDir = peerDirectory('lone')
      ends.push(() => rmSync(dataDir, { recursive: true, force: true }))
      const server = new SpawnedServer({ dataDir }, { trivet, lacks: lacking(trivet) })
      ends.unshift(() => server.kill())
      await server.start()
      all.push(await contender(name, server.pid, protocol, server.port(PORTS[protocol])))
    }
    for (const { sender } of all) await sender.send(WARM_UP)
    for (let slice = 0; slice < Number(values.slices); slice++) {
      // In another order each time: what runs first behind a pause fares differently.
      for (let i = 0; i < all.length; i++) await measure(all[(slice + i) % all.length]!)
    }
    print(protocol, all)
    for (const { sender } of all) sender.close()
  } finally {
    for (const end of ends) await end()
  }
}

const contender = async (
  name: string,
  pid: number,
  protocol: LoneProtocol,
  port: number,
): Promise<Contender> => {
  const sender = await LoneSender.connect(protocol, port)
  return { name, pid, sender, slices: [], cpuUs: 0 }
}

async function measure(one: Contender): Promise<void> {
  const meter = new CpuMeter(one.pid)
  one.slices.push(await one.sender.send(SENDS))
  one.cpuUs += meter.read().processUs
}

function print(protocol: string, all: readonly Contender[]): void {
  console.log(`${protocol}, one in flight, 100-byte bodies`)
  const [least] = all
  for (const one of all) {
    const times = one.slices.flat().sort((a, b) => a - b)
    const at = (share: number): string => times[Math.floor(times.length * share)]!.toFixed(3)
    const ratios = one.slices.map((slice, i) => sum(least!.slices[i]!) / sum(slice))
    const sorted = ratios.sort((a, b) => a - b)
    const ratio = (share: number): string =>
      sorted[Math.floor((sorted.length - 1) * share)]!.toFixed(2)
    console.log(
      `  ${one.name.padEnd(20)} ${Math.round(1000 / (sum(times) / times.length))}/s  ` +
        `p25 ${at(0.25)} p50 ${at(0.5)} p90 ${at(0.9)} ms  ` +
        `${Math.round(one.cpuUs / times.length)} us CPU  ` +
        `of the least, slice by slice: ${ratio(0.5)} [${ratio(0.25)}, ${ratio(0.75)}]`,
    )
  }
  console.log('')
}

/** Its settings would be refused. */
const lacking = (trivet: string): readonly 'http'[] =>
  existsSync(resolve(trivet, '../../dist/src/gateway/http')) ? [] : ['http']

const sum = (values: readonly number[]): number => values.reduce((all, value) => all + value, 0)

await main()
process.exit(0)
