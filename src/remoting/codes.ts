// RocketMQ's numeric request and response codes: the contract with every native client. Only the
// codes that we serve or send have a name here; any other number is answered with
// `requestCodeNotSupported`.

export const REQUEST = {
  // Client to broker.
  sendMessage: 10,
  pullMessage: 11,
  queryMessage: 12,
  queryConsumerOffset: 14,
  updateConsumerOffset: 15,
  updateTopic: 17,
  updateTopics: 18,
  getAllTopicConfig: 21,
  updateBrokerConfig: 25,
  getBrokerConfig: 26,
  getBrokerRuntimeInfo: 28,
  searchOffsetByTimestamp: 29,
  getMaxOffset: 30,
  getMinOffset: 31,
  getEarliestStoreTime: 32,
  viewMessageById: 33,
  heartbeat: 34,
  unregisterClient: 35,
  sendMessageBack: 36,
  endTransaction: 37,
  getConsumerList: 38,
  lockQueues: 41,
  unlockQueues: 42,
  getAllConsumerOffset: 43,
  getAllDelayOffset: 45,
  checkClientConfig: 46,
  getTimerCheckPoint: 60,
  updateGroup: 200,
  getAllGroupConfig: 201,
  getTopicStats: 202,
  getConsumerConnections: 203,
  getProducerConnections: 204,
  deleteGroup: 207,
  getConsumeStats: 208,
  deleteTopic: 215,
  resetOffset: 222,
  updateGroups: 225,
  queryTopicConsumers: 300,
  queryConsumeTimeSpan: 303,
  getBrokerSystemTopics: 305,
  cleanExpiredQueues: 306,
  queryCorrectionOffset: 308,
  sendMessageV2: 310,
  cloneGroupOffset: 314,
  viewBrokerStats: 315,
  cleanUnusedTopics: 316,
  getBrokerConsumeStats: 317,
  sendBatchMessage: 320,
  queryConsumeQueue: 321,
  sendReply: 324,
  sendReplyV2: 325,
  getAllProducers: 328,
  deleteExpiredLog: 329,
  queryConsumerTopics: 343,
  queryConsumerSubscription: 345,
  getTopicConfig: 351,
  getGroupConfig: 352,
  updateGroupForbidden: 353,
  checkQueueWrites: 354,
  litePullMessage: 361,
  recallMessage: 370,
  updateStaticTopic: 513,
  getHaStatus: 907,
  resetMasterFlushOffset: 908,
  getBrokerEpoch: 1007,
  updateColdDataFlow: 2001,
  removeColdDataFlow: 2002,
  getColdDataFlow: 2003,
  setReadAheadMode: 2004,
  switchTimerEngine: 5001,
  exportPopRecords: 200_056,
  getLiteInfo: 200_074,

  // Broker to client, on the client's own connection.
  checkTransactionState: 39,
  notifyConsumersChanged: 40,
  resetConsumerOffset: 220,
  getConsumerStatus: 221,
  /** This one and the next come from mqadmin, and the broker passes them on. */
  getConsumerRunningInfo: 307,
  consumeMessageDirectly: 309,
  pushReply: 326,

  // To the name server.
  putKvConfig: 100,
  getKvConfig: 101,
  deleteKvConfig: 102,
  registerBroker: 103,
  unregisterBroker: 104,
  getRoute: 105,
  getClusterInfo: 106,
  wipeWritePerm: 205,
  getAllTopics: 206,
  deleteTopicInNameServer: 216,
  registerTopicInNameServer: 217,
  getKvList: 219,
  getTopicsByCluster: 224,
  getNameServerSystemTopics: 304,
  updateNameServerConfig: 318,
  getNameServerConfig: 319,
  queryDataVersion: 322,
  addWritePerm: 327,
} as const

export const RESPONSE = {
  success: 0,
  systemError: 1,
  systemBusy: 2,
  requestCodeNotSupported: 3,
  flushDiskTimeout: 10,
  slaveNotAvailable: 11,
  flushSlaveTimeout: 12,
  messageIllegal: 13,
  serviceNotAvailable: 14,
  noPermission: 16,
  topicNotExist: 17,
  topicExists: 18,
  pullNotFound: 19,
  pullRetryImmediately: 20,
  pullOffsetMoved: 21,
  queryNotFound: 22,
  subscriptionParseFailed: 23,
  subscriptionNotExist: 24,
  subscriptionNotLatest: 25,
  groupNotExist: 26,
  filterDataNotLatest: 28,
  invalidParameter: 29,
  consumerNotOnline: 206,
  /** A limit that waiting does not lift. */
  flowControl: 215,
  illegalOperation: 604,
  goAway: 1500,
} as const

/** Bits of a header's `flag`. */
export const FLAG_RESPONSE = 1
export const FLAG_ONE_WAY = 2

/** MQVersion ordinals; behaviour on both sides hangs on them. */
export const VERSION = {
  /** From here on a retry's `maxReconsumeTimes` counts. */
  v3_4_9: 121,
  /** From here on a compressed registration carries queue mappings. */
  v5_0_0: 413,
  /** Our own version: the 5.x request set in the JSON of every version. */
  v5_3_3: 479,
} as const

/** The languages of a header: the name in JSON, the index in the binary codec. */
export const LANGUAGES = [
  'JAVA',
  'CPP',
  'DOTNET',
  'PYTHON',
  'DELPHI',
  'ERLANG',
  'RUBY',
  'OTHER',
  'HTTP',
  'GO',
  'PHP',
  'OMS',
  'RUST',
  'NODE_JS',
] as const

/** Understood by every version of every peer; a broker of Apache's says the same. */
export const LANGUAGE_DEFAULT = 'JAVA'
