// Upstream's suites have no types of their own.
declare module 'mqemitter/abstractTest.js' {
  const abstractTest: (options: { test: unknown; builder: unknown }) => void
  export = abstractTest
}

declare module 'aedes-persistence/abstract.js' {
  const abstractTest: (options: {
    test: unknown
    persistence: unknown
    testAsync: boolean
    buildEmitter?: unknown
  }) => void
  export = abstractTest
}
