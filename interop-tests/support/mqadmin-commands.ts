// Sub-commands of mqadmin 5.5.0 with arguments under which they work on Apache, in an order
// in which each finds what it needs.

export interface MqadminScene {
  readonly nameServer: string
  readonly broker: string
  readonly topic: string
  /** Of a live push consumer of the topic. */
  readonly group: string
  readonly clientId: string
  /** Of a message of the topic: offset message id, and unique key. */
  readonly offsetMessageId: string
  readonly uniqueKey: string
  /** For files that commands read and write. */
  readonly folder: string
}

export const TOPICS_FILE = 'topics.json'
export const GROUPS_FILE = 'groups.json'
export const TOPICS_IN_FILE = [
  { topicName: 'ToolsListA', readQueueNums: 2, writeQueueNums: 2, perm: 6 },
  { topicName: 'ToolsListB', readQueueNums: 3, writeQueueNums: 3, perm: 6 },
]
export const GROUPS_IN_FILE = [
  { groupName: 'G_list_a', retryQueueNums: 1, retryMaxTimes: 5 },
  { groupName: 'G_list_b' },
]

/** Each as its words without the name server, joined by blanks. */
export function mqadminCommands(scene: MqadminScene): readonly string[] {
  const { topic, group, clientId, folder } = scene
  const [b, c, t, g] = [`-b ${scene.broker}`, '-c DefaultCluster', `-t ${topic}`, `-g ${group}`]
  return [
    `updateTopic ${c} -t ToolsMade -r 4 -w 4`,
    `updateTopic ${b} -t ToolsFifo -r 4 -w 4 -a +message.type=FIFO`,
    `updateTopicList ${b} -f ${folder}/${TOPICS_FILE}`,
    `updateTopicPerm ${b} -t ToolsMade -p 4`,
    `updateTopicPerm ${c} -t ToolsMade -p 6`,
    `topicRoute ${t}`,
    `topicRoute ${t} -l`,
    `topicStatus ${t}`,
    `topicClusterList ${t}`,
    'topicList',
    'topicList -c',
    `allocateMQ ${t} -i 127.0.0.1,127.0.0.2`,
    `updateSubGroup ${c} -g G_made`,
    `updateSubGroup ${b} -g G_made_too -r 3 -q 1`,
    `updateSubGroup ${b} -g G_ranked --attributes +priority.factor=30`,
    'getConsumerConfig -g G_ranked',
    `updateSubGroup ${b} -g G_ranked --attributes +priority.factor=300`,
    `updateSubGroupList ${b} -f ${folder}/${GROUPS_FILE}`,
    `setConsumeMode ${b} ${t} -g G_made -m PULL -q 0`,
    'getConsumerConfig -g G_made_too',
    'getConsumerConfig -g G_list_a',
    `brokerStatus ${b}`,
    `brokerStatus ${c}`,
    `getBrokerConfig ${b}`,
    `updateBrokerConfig ${b} -k brokerPermission -v 6`,
    'sendMsgStatus -b broker-a -c 2',
    `queryMsgById ${t} -i ${scene.offsetMessageId}`,
    `queryMsgByKey ${t} -k key-1`,
    `queryMsgByUniqueKey ${t} -i ${scene.uniqueKey}`,
    `queryMsgByUniqueKey ${t} -i ${scene.uniqueKey} ${g} -d ${clientId}`,
    `queryMsgByOffset ${t} -b broker-a -i 0 -o 1`,
    `printMsg ${t} -d true`,
    `printMsgByQueue ${t} -a broker-a -i 0 -p true -d true`,
    `brokerConsumeStats ${b}`,
    `producerConnection ${t} -g CLIENT_INNER_PRODUCER`,
    `consumerConnection ${g}`,
    'consumerProgress',
    `consumerProgress ${g}`,
    `consumerProgress ${g} -s true`,
    `consumerStatus ${g} -i ${clientId} -s`,
    `cloneGroupOffset -s ${group} -d G_made ${t}`,
    `producer ${b}`,
    'clusterList',
    'clusterList -m',
    'updateKvConfig -s ns -k k -v v',
    'deleteKvConfig -s ns -k k',
    'wipeWritePerm -b broker-a',
    'addWritePerm -b broker-a',
    `resetOffsetByTime -g G_made ${t} -s -1`,
    `resetOffsetByTime -g G_made ${t} -s now ${b} -q 0 -o 1`,
    `skipAccumulatedMessage -g G_made ${t}`,
    `updateOrderConf ${t} -m put -v broker-a:2`,
    `updateOrderConf ${t} -m get`,
    `updateOrderConf ${t} -m delete`,
    `cleanExpiredCQ ${b}`,
    `deleteExpiredCommitLog ${b}`,
    `cleanUnusedTopic ${b}`,
    'statsAll',
    `statsAll ${t}`,
    `checkMsgSendRT ${t} -a 3 -s 16`,
    'getNamesrvConfig',
    'updateNamesrvConfig -k clusterTest -v false',
    `queryCq ${t} -q 0 -i 0 -c 3`,
    `queryCq ${t} -q 0 -i 0 -c 3 ${b} ${g}`,
    `sendMessage ${t} -p body -k k1 -c TagA`,
    `consumeMessage ${t} -b broker-a -i 0 -o 0 -c 2 -g G_made`,
    `exportMetadata ${c} -f ${folder}`,
    `exportMetadata ${b} -t -f ${folder}`,
    `exportMetadata ${b} -g -f ${folder}`,
    `exportConfigs ${c} -f ${folder}`,
    `exportMetrics ${c} -f ${folder}`,
    `exportPopRecord ${b} -d true`,
    `haStatus ${b}`,
    `getBrokerEpoch ${c}`,
    `resetMasterFlushOffset ${b} -o 0`,
    `getColdDataFlowCtrInfo ${b}`,
    `updateColdDataFlowCtrGroupConfig ${b} ${g} -v 1000`,
    `removeColdDataFlowCtrGroupConfig ${b} ${g}`,
    `setCommitLogReadAheadMode ${b} -m 0`,
    `checkRocksdbCqWriteProgress ${c}`,
    `switchTimerEngine ${b} -e F`,
    `getBrokerLiteInfo ${b}`,
    `getParentTopicInfo -p ${topic}`,
    `getLiteTopicInfo -p ${topic} -l L1`,
    `getLiteClientInfo -p ${topic} ${g} -c ${clientId}`,
    `getLiteGroupInfo -p ${topic} ${g}`,
    `triggerLiteDispatch -p ${topic} ${g}`,
    `deleteTopic ${c} -t ToolsMade`,
    `deleteSubGroup ${c} -g G_made`,
    `deleteSubGroup ${b} -g G_made_too -r true`,
    // Last: exportMetadata of Apache's broker fails once there is a static topic.
    `updateStaticTopic ${c} -t ToolsStatic -qn 4`,
  ]
}
