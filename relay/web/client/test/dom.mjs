// Imported first, because libraries look for the DOM when they are loaded.
import { JSDOM } from 'jsdom'

const { window } = new JSDOM('<div id="app"></div>')
const { document, Element, SVGElement, Node } = window
Object.assign(globalThis, { window, document, Element, SVGElement, Node, IS_REACT_ACT_ENVIRONMENT: true })
globalThis.navigator ??= window.navigator // Node 21 has one
