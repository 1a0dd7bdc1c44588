// sidecast.js: the client for pages without modules, as the global variable sidecast.
import { connect } from './sidecast.mjs'

globalThis.sidecast = { connect }
