// A real Apache RocketMQ as the reference peer: a name server and one broker, or a cluster of them.
// Its jars come through the installed Maven, it runs in a temporary directory on free loopback ports,
// and a broker counts as ready when the name server answers a cluster query with it.
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { createWriteStream, existsSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { freePort, isFree } from '../../test/support/server.ts'
import { mavenMissing } from './maven.ts'

const run = promisify(execFile)

/** Compiled files sit one folder deeper than their sources. */
const POM = fileURLToPath(new URL('../../../interop-tests/rocketmq/pom.xml', import.meta.url))
const DOWNLOAD_MS_MAX = 300_000
const START_MS_MAX = 180_000
const CLUSTER_QUERY = 106

export interface ApacheRocketmq extends AsyncDisposable {
  readonly nameServer: string
  readonly broker: string
  /** Of the broker's JVM. */
  readonly pid: number
  /** Ends the broker process without warning, as a crash does. */
  killBroker(): Promise<void>
  startBroker(): Promise<void>
  stop(): Promise<void>
}

/** One broker of a cluster; 'broker-a/1' is the first slave of 'broker-a'. */
export interface ApacheBroker {
  readonly address: string
  readonly pid: number
  kill(): Promise<void>
  start(): Promise<void>
}

export interface ApacheCluster extends AsyncDisposable {
  readonly nameServer: string
  killNameServer(): Promise<void>
  broker(name: string): ApacheBroker
  stop(): Promise<void>
}

/** Why this machine cannot run it, or undefined when it can. */
export const apacheRocketmqMissing = mavenMissing

export interface ApacheSettings {
  readonly broker?: Readonly<Record<string, string>>
  /** Of brokers with id 0; default ASYNC_MASTER. */
  readonly masterRole?: 'ASYNC_MASTER' | 'SYNC_MASTER'
  /** To register with besides its own. */
  readonly nameServers?: readonly string[]
  /** Settings of each JVM. */
  readonly jvm?: readonly string[]
  /** Another release than that of the pom. */
  readonly version?: string
  /** By their names below each broker's home. */
  readonly files?: Readonly<Record<string, string>>
}

const TRIES = 3

export async function startApacheRocketmq(settings: ApacheSettings = {}): Promise<ApacheRocketmq> {
  const cluster = await startApacheCluster(['broker-a/0'], settings)
  const broker = cluster.broker('broker-a/0')
  return {
    nameServer: cluster.nameServer,
    broker: broker.address,
    get pid() {
      return broker.pid
    },
    killBroker: () => broker.kill(),
    startBroker: () => broker.start(),
    stop: () => cluster.stop(),
    [Symbol.asyncDispose]: () => cluster.stop(),
  }
}

/**
 * Brokers by name and id, one after the other. On ports that are free when they are chosen; another
 * process may take one before they are bound.
 */
export async function startApacheCluster(
  names: readonly string[],
  settings: ApacheSettings = {},
): Promise<ApacheCluster> {
  for (let triesLeft = TRIES; ; triesLeft--) {
    try {
      return await start(names, settings)
    } catch (error) {
      const isTaken = /BindException|already in use/i.test((error as Error).message)
      if (!isTaken || triesLeft === 1) throw error
    }
  }
}

async function start(names: readonly string[], settings: ApacheSettings): Promise<ApacheCluster> {
  const { jvm = [], version } = settings
  const classpath = await resolveClasspath(version)
  const home = await mkdtemp(join(tmpdir(), 'apache-rocketmq-'))
  const namePort = await freePort()
  await writeFile(join(home, 'namesrv.conf'), properties({ listenPort: namePort }))
  await writeFiles(home, { 'conf/logback_namesrv.xml': NO_LOGS })
  const java = (at: string, main: string, conf: string): ChildProcess =>
    startJava({ home: at, main, conf, classpath, jvm })
  const nameServer = java(home, NAMESRV, 'namesrv.conf')
  const host = { home, java, namePort, nameServer }
  const brokers = new Map<string, JvmBroker>()
  const stop = async (): Promise<void> => {
    // Nothing of it is kept, so it need not end in order, which takes it ten seconds.
    await Promise.all([end(nameServer), ...[...brokers.values()].map((broker) => broker.kill())])
    await rm(home, { recursive: true, force: true, maxRetries: 5 })
  }
  try {
    for (const name of names) {
      const broker = await newBroker(host, name, settings)
      brokers.set(name, broker)
      await broker.start()
    }
  } catch (error) {
    await stop()
    throw error
  }
  return {
    nameServer: `127.0.0.1:${namePort}`,
    killNameServer: () => end(nameServer),
    broker: (name) => brokers.get(name)!,
    stop,
    [Symbol.asyncDispose]: stop,
  }
}

const NAMESRV = 'org.apache.rocketmq.namesrv.NamesrvStartup'
const BROKER = 'org.apache.rocketmq.broker.BrokerStartup'

interface Host {
  readonly home: string
  java(home: string, main: string, conf: string): ChildProcess
  readonly namePort: number
  readonly nameServer: ChildProcess
}

async function newBroker(host: Host, name: string, settings: ApacheSettings): Promise<JvmBroker> {
  const [brokerName, brokerId] = name.split('/') as [string, string]
  const { port, haPort } = await brokerPorts()
  // Each has a home of its own: a broker keeps files there beside its store.
  const home = join(host.home, `${brokerName}-${brokerId}`)
  await writeFiles(home, { 'conf/logback_broker.xml': NO_LOGS, ...settings.files })
  await writeFile(
    join(home, 'broker.conf'),
    properties({
      brokerClusterName: 'DefaultCluster',
      brokerName,
      brokerId,
      brokerRole: brokerId === '0' ? (settings.masterRole ?? 'ASYNC_MASTER') : 'SLAVE',
      brokerIP1: '127.0.0.1',
      listenPort: port,
      haListenPort: haPort,
      namesrvAddr: [`127.0.0.1:${host.namePort}`, ...(settings.nameServers ?? [])].join(';'),
      storePathRootDir: join(home, 'store'),
      storePathCommitLog: join(home, 'store', 'commitlog'),
      mappedFileSizeCommitLog: 64 * 1024 * 1024,
      diskMaxUsedSpaceRatio: 99,
      autoCreateTopicEnable: true,
      ...settings.broker,
    }),
  )
  return new JvmBroker(host, home, port)
}

/** RocketMQ 4 does not start without. */
const NO_LOGS = '<configuration/>'

async function writeFiles(home: string, files: Readonly<Record<string, string>>): Promise<void> {
  for (const [name, text] of Object.entries(files)) {
    await mkdir(dirname(join(home, name)), { recursive: true })
    await writeFile(join(home, name), text)
  }
}

class JvmBroker implements ApacheBroker {
  readonly address: string
  readonly #host: Host
  readonly #home: string
  readonly #port: number
  #child: ChildProcess | undefined

  constructor(host: Host, home: string, port: number) {
    this.#host = host
    this.#home = home
    this.#port = port
    this.address = `127.0.0.1:${port}`
  }

  get pid(): number {
    return this.#child?.pid ?? 0
  }

  async kill(): Promise<void> {
    if (this.#child !== undefined) await end(this.#child)
  }

  async start(): Promise<void> {
    const { home, namePort, nameServer } = this.#host
    const child = this.#host.java(this.#home, BROKER, 'broker.conf')
    this.#child = child
    try {
      await untilRegistered(namePort, this.#port, [nameServer, child], [home, this.#home])
    } catch (error) {
      await end(child)
      throw error
    }
  }
}

/** The jars of the pom; remembered in the temporary directory while each of them exists. */
async function resolveClasspath(version?: string): Promise<string> {
  const id = createHash('sha256')
    .update(await readFile(POM))
    .update(version ?? '')
    .digest('hex')
    .slice(0, 16)
  const file = join(tmpdir(), `apache-rocketmq-${id}.classpath`)
  const known = await readFile(file, 'utf8').catch(() => '')
  if (known !== '' && known.split(delimiter).every((jar) => existsSync(jar))) return known
  const goal = 'org.apache.maven.plugins:maven-dependency-plugin:3.6.1:build-classpath'
  const other = version === undefined ? [] : [`-Drocketmq.version=${version}`]
  await run('mvn', ['-B', '-q', '-f', POM, goal, `-Dmdep.outputFile=${file}`, ...other], {
    timeout: DOWNLOAD_MS_MAX,
    maxBuffer: 16 * 1024 * 1024,
  })
  return (await readFile(file, 'utf8')).trim()
}

interface JavaStart {
  readonly home: string
  readonly main: string
  readonly conf: string
  readonly classpath: string
  readonly jvm: readonly string[]
}

function startJava({ home, main, conf, classpath, jvm }: JavaStart): ChildProcess {
  const options = ['-Xms128m', '-Xmx1g', `-Duser.home=${home}`, ...jvm]
  for (const opened of ['sun.nio.ch', 'java.nio', 'java.lang']) {
    options.push('--add-opens', `java.base/${opened}=ALL-UNNAMED`)
  }
  const child = spawn('java', [...options, '-cp', classpath, main, '-c', join(home, conf)], {
    cwd: home,
    env: { ...process.env, ROCKETMQ_HOME: home },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const out = createWriteStream(join(home, `${main.split('.').at(-1)}.out`))
  child.stdout!.pipe(out, { end: false })
  child.stderr!.pipe(out, { end: false })
  return child
}

async function untilRegistered(
  namePort: number,
  brokerPort: number,
  children: readonly ChildProcess[],
  homes: readonly string[],
): Promise<void> {
  const deadline = performance.now() + START_MS_MAX
  while (performance.now() < deadline && children.every(({ exitCode }) => exitCode === null)) {
    const cluster = await query(namePort, CLUSTER_QUERY).catch(() => '')
    if (cluster.includes(`:${brokerPort}`) && (await isOpen(brokerPort))) return
    await delay(200)
  }
  const outputs = ['NamesrvStartup.out', 'BrokerStartup.out'].map((name, i) =>
    readFile(join(homes[i]!, name), 'utf8').catch(() => ''),
  )
  const ends = (await Promise.all(outputs)).map((text) => text.slice(-2000))
  throw new Error(`Apache RocketMQ did not come up; its output ends:\n${ends.join('\n')}`)
}

/** One request by hand, so that the judge shares no code with what is judged. */
function query(port: number, code: number): Promise<string> {
  const header = Buffer.from(
    JSON.stringify({ code, flag: 0, language: 'JAVA', opaque: 1, version: 401 }),
  )
  const lengths = Buffer.alloc(8)
  lengths.writeInt32BE(4 + header.length, 0)
  lengths.writeInt32BE(header.length, 4)
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(Buffer.concat([lengths, header])))
    let answer = Buffer.alloc(0)
    socket.setTimeout(3000, () => socket.destroy(new Error('no answer in 3 s')))
    socket.on('error', reject)
    socket.on('data', (chunk) => {
      answer = Buffer.concat([answer, chunk])
      if (answer.length < 4 || answer.length < 4 + answer.readInt32BE(0)) return
      socket.destroy()
      resolve(answer.toString('utf8', 8))
    })
  })
}

function isOpen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy()
      resolve(true)
    })
    socket.on('error', () => resolve(false))
  })
}

/** The broker also listens two below its port. */
async function brokerPorts(): Promise<{ port: number; haPort: number }> {
  for (;;) {
    const port = await freePort()
    if (await isFree(port - 2)) return { port, haPort: await freePort() }
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const gone = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGKILL')
  await gone
}

const properties = (values: Record<string, string | number | boolean>): string =>
  Object.entries(values)
    .map(([name, value]) => `${name}=${value}\n`)
    .join('')
