// Sub-commands of mqadmin 5.5.0 asked of Apache RocketMQ 5.5.0 and of our server: what works there
// works here, and prints the same but for those named here.

import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { ExecutionContext } from 'ava'
import { spawnServer } from '../../test/support/server.ts'
import { tempDir } from '../../test/support/temp-dir.ts'
import { eventually } from '../../test/support/waiting.ts'
import { apacheRocketmqMissing, startApacheRocketmq } from '../support/apache-rocketmq.ts'
import { askMqadmin, java, javaClientMissing } from '../support/java-client.ts'
import {
  GROUPS_FILE,
  GROUPS_IN_FILE,
  mqadminCommands,
  TOPICS_FILE,
  TOPICS_IN_FILE,
} from '../support/mqadmin-commands.ts'
import { needing } from '../support/needing.ts'

const missing = (await javaClientMissing()) ?? (await apacheRocketmqMissing())
const testJava = needing('mqadmin beside Apache RocketMQ', missing)

/** Refused in words, by sub-command. */
const REFUSED: Readonly<Record<string, RegExp>> = {
  updateStaticTopic: /no static topics/,
  updateColdDataFlowCtrGroupConfig: /not slowed down by group/,
}

/** Of those that print something else, why. */
const DIFFERS: Readonly<Record<string, string>> = {
  topicList: 'the topics of the system are others',
  brokerStatus: 'there are values of our own, and none of engines that we do not have',
  getBrokerConfig: 'there are other settings',
  getNamesrvConfig: 'there are other settings',
  consumerProgress: "a group's retry topic is made with the group, so that it is listed",
  consumerStatus: 'the threads of a client are what they are',
  clusterList: 'the version, and figures',
  wipeWritePerm: 'there are other topics',
  addWritePerm: 'there are other topics',
  statsAll: 'the topics of the system are others',
  queryCq: 'a selected entry is shown as such',
  getColdDataFlowCtrInfo: 'members stand in another order',
  getBrokerLiteInfo: 'the limit of a feature that is off',
  updateOrderConf: 'figures',
  cleanUnusedTopic: 'figures',
}

const isWorking = (output: string): boolean => !/CODE: |Exception: /.test(output)

/** Without addresses, times, ids, figures and the order of lines. */
function shapeOf(output: string): readonly string[] {
  const text = output
    .replaceAll(/[0-9A-F]{20,}/g, 'ID')
    .replaceAll(/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:,\d+)?/g, 'TIME')
    .replaceAll(/\d+/g, '0')
    .replaceAll(/[ \t]+/g, ' ')
  return text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '')
    .sort()
}

/** Apache's broker lists a client that had to connect again twice, until the first connection is closed. */
const withoutTwins = (lines: readonly string[]): readonly string[] => [...new Set(lines)]

async function outputs(
  t: ExecutionContext,
  at: { readonly nameServer: string; readonly broker: string },
): Promise<ReadonlyMap<string, string>> {
  const { nameServer, broker } = at
  const [topic, group, folder] = ['ToolsTopic', 'G_tools', join(await tempDir(t), 'export')]
  await mkdir(folder)
  await writeFile(join(folder, TOPICS_FILE), JSON.stringify(TOPICS_IN_FILE))
  await writeFile(join(folder, GROUPS_FILE), JSON.stringify(GROUPS_IN_FILE))
  const run = async (words: string): Promise<string> => {
    const { output, hasEnded } = await askMqadmin([...words.split(' '), '-n', nameServer])
    return hasEnded === true ? String(output) : `${words}: CODE: none, it had not ended`
  }
  await run(`updateTopic -b ${broker} -t ${topic} -r 2 -w 2`)
  const consumer = await java(t, 'push', { nameServer, topic, group })
  await consumer.ready()
  const messages = { nameServer, topic, count: 6, mode: 'ordered', keys: 2 }
  const [sent] = await (await java(t, 'produce', messages)).ends()
  await consumer.receives(6)
  // Some commands show what is consumed, which the client tells every five seconds. Before it has, Apache's broker lists
  // no queue of the group, and 'Diff Total: 0'.
  await eventually(async () => {
    const progress = await run(`consumerProgress -g ${group}`)
    return (progress.includes(topic) && progress.includes('Diff Total: 0')) || undefined
  })
  const connections = await run(`consumerConnection -g ${group}`)
  const [, clientId = ''] = /^(\S+@\S+)/m.exec(connections) ?? []
  const [offsetMessageId, uniqueKey] = [String(sent!['offsetMsgId']), String(sent!['msgId'])]
  const scene = { nameServer, broker, topic, group, clientId, offsetMessageId, uniqueKey, folder }
  const found = new Map<string, string>()
  for (const words of mqadminCommands(scene)) {
    const plain = (text: string): string =>
      [broker, nameServer, clientId, offsetMessageId, uniqueKey, folder].reduce(
        (known, value, i) => known.replaceAll(value, `<${'abcdef'[i]}>`),
        text,
      )
    found.set(plain(words), plain(await run(words)))
  }
  await consumer.stop()
  return found
}

testJava('mqadmin shows and does the same', async (t) => {
  const server = await spawnServer(t)
  const [nameServer, broker] = [server.address('nameServer'), server.address('remoting')]
  const ours = await outputs(t, { nameServer, broker })
  await using apache = await startApacheRocketmq()
  const theirs = await outputs(t, apache)
  t.deepEqual([...ours.keys()], [...theirs.keys()])
  const worked = new Set<string>()
  for (const [words, expected] of theirs) {
    const [command = ''] = words.split(' ')
    const output = ours.get(words)!
    if (REFUSED[command] !== undefined) {
      t.regex(output, REFUSED[command], words)
      continue
    }
    if (!isWorking(expected)) continue
    t.true(isWorking(output), `${words}:\n${output}`)
    worked.add(command)
    if (DIFFERS[command] !== undefined) continue
    const shapes = [output, expected].map(shapeOf)
    const [shown, wanted] = command.endsWith('Connection') ? shapes.map(withoutTwins) : shapes
    t.deepEqual(shown, wanted, words)
  }
  t.log(`${worked.size} sub-commands worked on both`)
  t.true(worked.size >= 60, `${worked.size} sub-commands worked on both`)
})
